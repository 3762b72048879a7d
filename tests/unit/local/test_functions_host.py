"""What the functions host reads, and what it refuses before anything runs."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)
from azure.storage.queue.aio import QueueServiceClient

from local.host.functions_host import FunctionsHost, UnsupportedBindingError, _check
from local.host.http import HttpFunctions
from local.host.messages import StatusResult, TypedData
from local.host.queues import _LONGEST_WAIT, _SHORTEST_WAIT, REFUSED_FOR, QueueListener, StorageRefusedError, _longer
from local.host.routing import BadPathError, RouteError, Routes, routes_of
from local.host.settings import HostSettings, HostSettingsError, QueueSettings, read_host_settings, seconds
from local.host.timers import Schedule, ScheduleError
from local.host.worker import Function, FunctionError, Worker, WorkerKilledError

NOON = datetime(2026, 3, 31, 12, 0, 0, tzinfo=UTC)


def settings(folder: Path, **document: Any) -> HostSettings:
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **document}))
    return read_host_settings(folder)


def queues(folder: Path, **section: Any) -> QueueSettings:
    return settings(folder, extensions={"queues": section}).queues


def test_an_almost_empty_host_json_has_the_defaults_of_azure(tmp_path: Path) -> None:
    expected = QueueSettings(
        batch_size=16,
        new_batch_threshold=8,
        max_dequeue_count=5,
        visibility_timeout=0,
        max_polling_interval=60,
        base64=True,
    )
    assert settings(tmp_path) == HostSettings(queues=expected, route_prefix="api")


def test_host_json_is_obeyed(tmp_path: Path) -> None:
    section = {
        "batchSize": 32,
        "newBatchThreshold": 96,
        "maxDequeueCount": 8,
        "visibilityTimeout": "00:00:30",
        "maxPollingInterval": "00:00:02",
        "messageEncoding": "none",
    }
    assert queues(tmp_path, **section) == QueueSettings(
        batch_size=32,
        new_batch_threshold=96,
        max_dequeue_count=8,
        visibility_timeout=30,
        max_polling_interval=2,
        base64=False,
    )


def test_the_threshold_follows_the_batch_size_unless_it_is_set(tmp_path: Path) -> None:
    assert queues(tmp_path, batchSize=4).new_batch_threshold == 2


def test_the_longest_run_is_that_of_host_json(tmp_path: Path) -> None:
    assert settings(tmp_path, functionTimeout="00:10:00").function_timeout == 600
    with pytest.raises(HostSettingsError, match=r"host.json: functionTimeout"):
        settings(tmp_path, functionTimeout="-1")


class Runs:
    """Stands for the worker library: runs that end, and one that does not."""

    def __init__(self) -> None:
        self.ended = 0

    async def invocation_request(self, envelope: Any) -> Any:
        if "endless" in envelope.request.invocation_request.function_id:
            await asyncio.Event().wait()
        self.ended += 1
        return SimpleNamespace(result=SimpleNamespace(status=StatusResult.Success), return_value=None)


async def test_a_run_beyond_function_timeout_ends_the_worker_and_its_message_is_not_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = Runs()
    monkeypatch.setattr("local.host.worker.library", runs)
    binding = {"type": "queueTrigger", "name": "message", "queueName": "objects"}
    short, endless = (Function(name=name, function_id=name, bindings=(binding,)) for name in ("short", "endless"))
    worker = Worker({}, limit=0.05)
    await worker.invoke(short, TypedData(string=""))
    assert (runs.ended, worker.killed.is_set()) == (1, False)
    with pytest.raises(WorkerKilledError, match="endless ran longer than functionTimeout"):
        await worker.invoke(endless, TypedData(string=""))
    assert worker.killed.is_set()
    assert not issubclass(WorkerKilledError, FunctionError), (
        "a failed run gives its message back, a killed one does not"
    )


def answered(status: int) -> HttpResponseError:
    problem = HttpResponseError("refused")
    problem.status_code = status
    return problem


@pytest.mark.parametrize(
    ("problem", "ends"),
    [
        (answered(403), True),
        (answered(401), True),
        (ClientAuthenticationError("no token"), True),
        (ServiceRequestError("connection refused"), True),
        (ServiceRequestTimeoutError("hangs"), False),
        (answered(503), False),
    ],
)
async def test_a_host_ends_when_storage_has_refused_for_half_a_minute_and_not_when_it_hangs(
    problem: AzureError, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    listener = QueueListener.__new__(QueueListener)
    listener._refused_since = 0.0
    listener._judge(problem)
    now += REFUSED_FOR - 1
    listener._judge(problem)
    now += 1
    if ends:
        with pytest.raises(StorageRefusedError):
            listener._judge(problem)
    else:
        listener._judge(problem)


def test_the_route_prefix_may_be_empty(tmp_path: Path) -> None:
    assert settings(tmp_path, extensions={"http": {"routePrefix": ""}}).route_prefix == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batchSize", 33),
        ("batchSize", 0),
        ("batchSize", "16"),
        ("batchSize", True),
        ("maxDequeueCount", 0),
        ("newBatchThreshold", -1),
        ("visibilityTimeout", "30"),
        ("visibilityTimeout", 30),
        ("maxPollingInterval", "soon"),
        ("messageEncoding", "utf-7"),
    ],
)
def test_an_entry_out_of_bounds_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(HostSettingsError, match=name):
        queues(tmp_path, **{name: value})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "1.0"}', '{"version": 2.0}'])
def test_what_is_no_host_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(HostSettingsError, match=r"host\.json"):
        read_host_settings(tmp_path)


def test_a_missing_host_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostSettingsError, match=r"host\.json"):
        read_host_settings(tmp_path)


@pytest.mark.parametrize(
    ("span", "expected"), [("00:00:30", 30), ("01:02:03", 3723), ("7.00:00:00", 604800), ("00:00:00.5", 0.5)]
)
def test_a_time_span_is_read_as_dotnet_writes_it(span: str, expected: float) -> None:
    assert seconds(span) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("*/30 * * * * *", datetime(2026, 3, 31, 12, 0, 30, tzinfo=UTC)),
        ("0 */5 * * * *", datetime(2026, 3, 31, 12, 5, 0, tzinfo=UTC)),
        ("15,45 0 0 1 * *", datetime(2026, 4, 1, 0, 0, 15, tzinfo=UTC)),
        ("0 0 9-17 * * mon", datetime(2026, 4, 6, 9, 0, 0, tzinfo=UTC)),
        ("0 0 0 29 Feb *", datetime(2028, 2, 29, 0, 0, 0, tzinfo=UTC)),
        ("0 0 0 1 * 5", datetime(2026, 5, 1, 0, 0, 0, tzinfo=UTC)),
    ],
)
def test_a_schedule_has_seconds_first_and_wants_both_days_to_match(schedule: str, expected: datetime) -> None:
    assert Schedule(schedule).next(NOON) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * * *",
        "* * * * * * *",
        "@daily",
        "60 * * * * *",
        "0 0 0 L * *",
        "0 0 0 ? * 1#2",
        "H * * * * *",
        "0 0 0 30 feb *",
        "00:05:00",
        "every second of each hour now",
        "*/0 * * * * *",
    ],
)
def test_what_is_no_ncrontab_expression_or_never_fires_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule(text)


def function(**trigger: Any) -> Function:
    return Function(name="f", function_id="1", bindings=({"name": "x", "direction": "IN", **trigger},))


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        ({"type": "blobTrigger"}, "blobTrigger"),
        ({"type": "queueTrigger", "queueName": "work", "connection": "Elsewhere"}, "AzureWebJobsStorage"),
        ({"type": "queueTrigger", "queueName": "No_Name"}, "legal queue name"),
        ({"type": "queueTrigger", "queueName": "%WORK%"}, "legal queue name"),
        ({"type": "queueTrigger", "queueName": "ab"}, "legal queue name"),
    ],
)
def test_a_binding_that_is_not_served_is_refused_by_name(trigger: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedBindingError, match=f"f: binding 'x'.*{reason}"):
        _check(function(**trigger))


@pytest.mark.parametrize("route", ["items/{id:int}", "items/{*rest}", "items/{a?}/{b}", "a//b", "it{em}s"])
def test_a_route_beyond_plain_segments_is_refused(route: str) -> None:
    with pytest.raises(RouteError, match="f: route"):
        Routes([function(type="httpTrigger", route=route)], "api")


@pytest.mark.parametrize(
    ("route", "prefix", "paths"),
    [
        ("items", "api", {"/api/items"}),
        ("/items/", "", {"/items"}),
        ("items/{id}", "api", {"/api/items/{id}"}),
        ("items/{id?}", "api", {"/api/items", "/api/items/{id}"}),
        (None, "api", {"/api/f"}),
    ],
)
def test_a_route_stands_under_the_prefix(route: str | None, prefix: str, paths: set[str]) -> None:
    routes = routes_of(function(type="httpTrigger", route=route), prefix)
    assert {"/" + "/".join(route.segments) for route in routes} == paths


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(BadPathError):
        Routes([function(type="httpTrigger", route="items/{id}")], "api").find("GET", "/api/items/a%00b")


def test_a_value_is_read_under_its_kind_only() -> None:
    data = TypedData(json="{}")
    assert (data.WhichOneof("data"), data.json) == ("json", "{}")
    with pytest.raises(AttributeError):
        _ = data.string


def test_an_idle_queue_is_polled_often_for_a_while_and_then_every_second() -> None:
    waits, slept = [_SHORTEST_WAIT], 0.0
    while waits[-1] < _LONGEST_WAIT:
        slept += waits[-1]
        waits.append(_longer(waits[-1]))
    assert sum(wait < 0.5 for wait in waits) > 20, "what follows soon is not received soon"
    assert 10 < slept < 60
    assert _longer(_LONGEST_WAIT) == _LONGEST_WAIT


async def test_a_body_that_is_too_large_is_answered_as_by_azures_host() -> None:
    trigger = {"name": "req", "type": "httpTrigger", "direction": "IN", "route": "x", "methods": ["POST"]}
    functions = HttpFunctions([Function(name="f", function_id="1", bindings=(trigger,))], Worker({}), "api")
    app = web.Application(client_max_size=10)
    app.router.add_route("*", "/{path:.*}", functions.answer)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/api/x", data=b"x" * 11)
        assert (answer.status, await answer.text()) == (500, "")


async def test_a_stop_leaves_what_takes_longer_than_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that go on arriving do not keep the host: after the time it leaves what it has."""
    monkeypatch.setattr("local.host.functions_host.LONGEST_STOP", 0.2)
    service = QueueServiceClient.from_connection_string("UseDevelopmentStorage=true")
    host = FunctionsHost(Worker({}), HostSettings(queues=QueueSettings()), service, 20.0)
    await host._serve(0)
    stopped: list[str] = []

    class Endless:
        is_busy = True

        def stop(self) -> None:
            stopped.append("endless")

    monkeypatch.setattr(host, "_parts", lambda: [Endless()])
    await host.stop()
    assert stopped == ["endless"]

"""Collecting from a FHIR service: by $export and by paging, interrupted, refused, and what is gone."""

import asyncio
import json
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from insights.collect import Store, build
from insights.errors import CollectError, Unavailable
from insights.fetch import service as service_module
from insights.fetch.fetching import fetch
from insights.fetch.service import connected
from sync.adapters.http.retrying import ATTEMPTS
from sync.cli import app
from tests.insights.collected import catalogue, tables, write
from tests.insights.collected import collect as collect_files
from tests.insights.test_collect import condition, patient

BASE = "http://127.0.0.1:1/fhir"


class Server:
    """A FHIR service in memory that answers as one would."""

    def __init__(self, *resources, exports=True, deleted=None, knows_last_updated=True, page=3, gives_up=False):
        self.resources = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources}
        self.exports = exports
        self.deleted = deleted
        self.knows_last_updated = knows_last_updated
        self.page = page
        self.gives_up = gives_up
        self.polls = 0
        self.asked = []
        self.fails_at = None
        self.since = None

    def __call__(self, request):
        path = request.url.path.removeprefix("/fhir")
        query = parse_qs(request.url.query.decode())
        self.asked.append((path, query))
        if self.fails_at is not None and len(self.asked) > self.fails_at:
            raise httpx.ConnectError("down")
        if path == "/metadata":
            types = [{"type": kind} for kind in ("Patient", "Condition", "Basic")]
            body = {"resourceType": "CapabilityStatement", "rest": [{"resource": types}]}
            return httpx.Response(200, json=body, headers={"Date": "Tue, 30 Jun 2026 12:00:00 GMT"})
        if path == "/$export":
            return self.kick_off(request, query)
        if path.startswith("/jobs"):
            return self.job()
        if path.startswith("/files/"):
            lines = [json.dumps(resource) for resource in self.of(path.removeprefix("/files/"), self.since)]
            return httpx.Response(200, text="\n".join(lines))
        if path == "/gone":
            entries = [{"request": {"method": "DELETE", "url": reference}} for reference in self.deleted]
            return httpx.Response(200, text=json.dumps({"resourceType": "Bundle", "entry": entries}))
        return self.search(path.removeprefix("/"), query)

    def of(self, kind, since=None):
        listed = [resource for resource in self.resources.values() if resource["resourceType"] == kind]
        return [resource for resource in listed if since is None or resource["meta"]["lastUpdated"] >= since]

    def kick_off(self, request, query):
        if not self.exports:
            return httpx.Response(404, json={"resourceType": "OperationOutcome", "issue": []})
        assert request.headers["Prefer"] == "respond-async"
        self.since = query.get("_since", [None])[0]
        return httpx.Response(202, headers={"Content-Location": f"{BASE}/jobs/1"})

    def job(self):
        self.polls += 1
        if self.gives_up:
            return httpx.Response(404)
        if self.polls < 3:
            return httpx.Response(202, headers={"Retry-After": "7"})
        manifest = {
            "transactionTime": "2026-06-30T12:00:00Z",
            "requiresAccessToken": False,
            "output": [{"type": kind, "url": f"{BASE}/files/{kind}"} for kind in ("Patient", "Condition")],
            "error": [],
        }
        if self.deleted is not None:
            manifest["deleted"] = [{"type": "Bundle", "url": f"{BASE}/gone"}]
        return httpx.Response(200, json=manifest)

    def search(self, kind, query):
        since = query.get("_lastUpdated", ["ge"])[0].removeprefix("ge") or None
        resources = self.of(kind, since if self.knows_last_updated else None)
        if query.get("_summary"):
            return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "total": len(resources)})
        start = int(query.get("at", ["0"])[0])
        entries = [{"resource": resource} for resource in resources[start : start + self.page]]
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        if start + self.page < len(resources):
            more = "&".join(f"{name}={value[0]}" for name, value in query.items() if name != "at")
            bundle["link"] = [{"relation": "next", "url": f"{BASE}/{kind}?{more}&at={start + self.page}"}]
        return httpx.Response(200, json=bundle)


WORLD = [*(patient(n) for n in range(8)), *(condition(n, n % 8, "a") for n in range(11))]
for resource in WORLD:
    resource["meta"]["lastUpdated"] = "2026-06-01T00:00:00Z"

waited = []


async def _no_wait(seconds):
    waited.append(seconds)


def run(server, folder, **options):
    """Fetch and load, as the command does."""

    async def download():
        async with connected(BASE, transport=httpx.MockTransport(server), sleep=_no_wait) as service:
            return await fetch(service, store.incoming, catalogue().by_resource, **options)

    store = Store(folder)
    store.prepare()
    fetched = asyncio.run(download())
    since = options.get("since")
    built = build(store, fetched.data, catalogue(), source=BASE, refresh=since is not None, deletions=fetched.deletions)
    from insights.fetch.fetching import forget

    forget(store.incoming)
    return fetched, built


def tables_of(resources):
    """The tables that files of these resources give."""
    return _tables_of(json.dumps(resources))


@cache
def _tables_of(resources):
    with TemporaryDirectory() as folder:
        collect_files(Path(folder) / "data", write(Path(folder) / "in", *json.loads(resources)))
        return tables(Path(folder) / "data")


@pytest.mark.parametrize("exports", [True, False])
def test_both_ways_give_the_tables_of_the_files(tmp_path, exports):
    fetched, built = run(Server(*WORLD, exports=exports), tmp_path / "d")
    assert tables(tmp_path / "d") == tables_of(WORLD)
    assert fetched.mode == ("export" if exports else "paging")
    assert built.known.data_time == "2026-06-30T12:00:00Z"
    assert "ImagingStudy" in fetched.absent


def test_an_export_is_polled_as_often_as_the_service_says(tmp_path):
    waited.clear()
    server = Server(*WORLD)
    run(server, tmp_path / "d")
    assert (server.polls, waited) == (3, [7.0, 7.0])


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({"exports": True, "deleted": ["Patient/p1", "Condition/c9"]}, "deleted-files"),
        ({"exports": True}, "listing"),
        ({"exports": False}, "listing"),
    ],
)
def test_a_refresh_gives_the_tables_of_everything(tmp_path, options, how):
    run(Server(*WORLD), tmp_path / "d")
    later = [resource for resource in WORLD if resource["id"] not in ("p1", "c9")]
    changed = condition(3, 2, "b", version="2")
    changed["meta"]["lastUpdated"] = "2026-07-02T00:00:00Z"
    later = [*(resource for resource in later if resource["id"] != "c3"), changed]
    store = Store(tmp_path / "d")
    fetched, built = run(
        Server(*later, **options), tmp_path / "d", since=store.collected().data_time, known=store.ids()
    )
    assert fetched.deletions == how
    assert tables(tmp_path / "d") == tables_of(later)
    assert built.deleted == {"Patient": 1, "Condition": 1}


@pytest.mark.parametrize("exports", [True, False])
@pytest.mark.parametrize("fails_at", range(2, 16, 2))
def test_whenever_it_breaks_off_the_next_run_goes_on(tmp_path, exports, fails_at):
    server = Server(*WORLD, exports=exports)
    server.fails_at = fails_at
    with suppress(Unavailable):  # it has nothing to ask that often, or it breaks off with this and no other error
        run(server, tmp_path / "d")
    again = Server(*WORLD, exports=exports)
    run(again, tmp_path / "d")
    assert tables(tmp_path / "d") == tables_of(WORLD)


def test_a_service_that_has_never_answered_is_told_at_once_with_what_may_be_wrong(tmp_path):
    server = Server(*WORLD)
    server.fails_at = 0
    with pytest.raises(Unavailable) as told:
        run(server, tmp_path / "d")
    assert len(server.asked) == ATTEMPTS
    assert "no connection" in told.value.message
    assert told.value.message.startswith(f"the FHIR service at {BASE}: ")
    assert "DICOM_SYNC_FHIR_URL" in told.value.hint


def test_pages_that_were_read_are_not_asked_for_again(tmp_path):
    server = Server(*WORLD, exports=False)
    run(server, tmp_path / "counted")
    everything = len(server.asked)
    broken = Server(*WORLD, exports=False)
    broken.fails_at = everything - 2
    with pytest.raises(Unavailable):
        run(broken, tmp_path / "d")
    again = Server(*WORLD, exports=False)
    run(again, tmp_path / "d")
    assert len(again.asked) < everything


def test_a_service_that_ignores_last_updated_is_not_believed(tmp_path):
    run(Server(*WORLD), tmp_path / "d")
    store = Store(tmp_path / "d")
    before = store.collected()
    with pytest.raises(CollectError) as problem:
        run(
            Server(*WORLD, exports=False, knows_last_updated=False),
            tmp_path / "d",
            since=before.data_time,
            known=store.ids(),
        )
    assert problem.value.code == "collect.search_parameter"
    assert store.collected() == before


def test_what_is_no_fhir_service_is_named(tmp_path):
    with pytest.raises(Unavailable) as problem:
        run(lambda _: httpx.Response(200, text="<html>"), tmp_path / "d")
    assert problem.value.code == "collect.url"


@pytest.mark.parametrize("refreshes", [False, True], ids=["collect", "refresh"])
@pytest.mark.parametrize("fault", ["circle", "type"])
def test_a_search_that_is_answered_wrongly_ends_the_collection(tmp_path, fault, refreshes):
    """A refresh lists the ids that exist, since all others count as deleted; only this listing is odd there."""

    class Odd(Server):
        odd = False
        answers = 0

        def __call__(self, request):
            path = request.url.path.removeprefix("/fhir")
            query = request.url.query.decode()
            hit = "again=1" in query or ("_elements=id" in query if refreshes else "_summary" not in query)
            if not self.odd or path not in {"/Condition", "/Patient"} or not hit:
                return super().__call__(request)
            self.answers += 1
            assert self.answers < 50, "it would go on for ever"
            entries = [] if fault == "circle" else [{"resource": {"resourceType": "Medication", "id": "x"}}]
            links = [{"relation": "next", "url": f"{BASE}{path}?again=1"}] if fault == "circle" else []
            body = {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links}
            return httpx.Response(200, json=body)

    server = Odd(*WORLD, exports=False)
    since = None
    if refreshes:
        run(server, tmp_path / "d")
        since = "2026-06-30T12:00:00Z"
    server.odd = True
    with pytest.raises(Unavailable, match="circle" if fault == "circle" else "another type") as problem:
        run(server, tmp_path / "d", since=since, known={"Patient": frozenset({"p1"}), "Condition": frozenset({"c9"})})
    assert problem.value.code == "collect.unavailable"


PAGES = {
    "page": lambda: httpx.Response(200, html="<html>Sign in</html>"),
    "empty": lambda: httpx.Response(200),
    "not found": lambda: httpx.Response(404, html="<html>Not found</html>"),
    "bad request": lambda: httpx.Response(400, html="<html>Bad request</html>"),
}


@pytest.mark.parametrize("since", [None, "2026-06-30T12:00:00Z"])
@pytest.mark.parametrize("page", PAGES)
def test_a_gateway_that_answers_for_the_service_is_an_outage(tmp_path, page, since):
    """A standing watch continues after an outage; a refusal ends it."""
    server = Server(*WORLD, exports=False)
    run(server, tmp_path / "d")
    between = lambda request: PAGES[page]() if request.url.path.endswith("/Patient") else server(request)  # noqa: E731
    with pytest.raises(Unavailable) as problem:
        run(between, tmp_path / "d", since=since)
    assert problem.value.code == "collect.unavailable"
    run(server, tmp_path / "d", since=since)
    assert tables(tmp_path / "d") == tables_of(WORLD)


@pytest.mark.parametrize("page", ["page", "empty"])
def test_a_gateways_answer_is_no_file_of_an_export(tmp_path, page):
    server = Server(*WORLD)
    between = lambda request: PAGES[page]() if request.url.path == "/fhir/files/Patient" else server(request)  # noqa: E731
    with pytest.raises(Unavailable) as problem:
        run(between, tmp_path / "d")
    assert problem.value.code == "collect.unavailable"
    run(server, tmp_path / "d")
    assert tables(tmp_path / "d") == tables_of(WORLD)


@pytest.mark.parametrize("page", ["page", "empty"])
async def test_a_gateways_success_is_no_write(page):
    async with connected(BASE, transport=httpx.MockTransport(lambda _: PAGES[page]())) as service:
        with pytest.raises(Unavailable):
            await service.put("/Communication/c", {"resourceType": "Communication", "id": "c"})


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"resourceType": "Communication", "id": "c"}},
        {"json": {"resourceType": "OperationOutcome", "issue": []}},
        {"headers": {"ETag": 'W/"1"'}},
        {"headers": {"Location": f"{BASE}/Communication/c/_history/1"}},
    ],
    ids=["the resource", "an outcome", "a version", "an address"],
)
async def test_a_service_may_answer_a_write_in_each_way_of_the_standard(answer):
    async with connected(BASE, transport=httpx.MockTransport(lambda _: httpx.Response(201, **answer))) as service:
        assert (await service.put("/Communication/c", {"resourceType": "Communication", "id": "c"})).is_success


def test_an_export_on_another_server_is_not_followed(tmp_path):
    class Elsewhere(Server):
        def kick_off(self, request, query):
            return httpx.Response(202, headers={"Content-Location": "http://elsewhere.example/jobs/1"})

    with pytest.raises(CollectError) as problem:
        run(Elsewhere(*WORLD), tmp_path / "d")
    assert problem.value.code == "collect.foreign_link"
    run(Server(*WORLD), tmp_path / "d")
    assert tables(tmp_path / "d") == tables_of(WORLD), "once the service is set right, the command works"


@pytest.mark.parametrize(
    "answer",
    [
        (404, ""),
        (404, '{"resourceType": "OperationOutcome"}'),
        (200, '{"resourceType": "OperationOutcome"}'),
        (200, '{"output": [{"type": "Patient"}]}'),
        (200, '{"output": {}}'),
    ],
    ids=["gone", "said to be gone", "an outcome", "no address", "no list"],
)
def test_an_export_that_is_given_up_is_begun_anew(tmp_path, answer):
    class GivenUp(Server):
        def job(self):
            status, text = answer
            return httpx.Response(status, text=text, headers={"Content-Type": "application/json"})

    with pytest.raises(CollectError) as problem:
        run(GivenUp(*WORLD), tmp_path / "d")
    assert problem.value.code == "collect.export"
    server = Server(*WORLD)
    run(server, tmp_path / "d")
    assert [path for path, _ in server.asked if path == "/$export"] == ["/$export"]


def test_files_of_an_export_that_the_service_has_forgotten_are_not_taken_for_those_of_the_next(tmp_path):
    interrupted = Server(*WORLD)
    interrupted.fails_at = 6  # metadata, kick-off, three polls, the file of Patients
    with pytest.raises(Unavailable):
        run(interrupted, tmp_path / "d")
    assert (Store(tmp_path / "d").incoming / "Patient.0.ndjson").exists()

    with pytest.raises(CollectError):
        run(Server(*WORLD, gives_up=True), tmp_path / "d")
    later = [patient(1, version="2"), patient(20), *WORLD[8:]]
    run(Server(*later), tmp_path / "d")
    assert tables(tmp_path / "d") == tables_of(later)


@pytest.mark.parametrize("options", [{"paging": True}, {}], ids=["asked for", "no export offered any more"])
def test_files_of_an_interrupted_export_are_not_read_beside_pages(tmp_path, options):
    interrupted = Server(*WORLD)
    interrupted.fails_at = 6
    with pytest.raises(Unavailable):
        run(interrupted, tmp_path / "d")
    if not options:
        with pytest.raises(CollectError):
            run(Server(*WORLD, exports=False, gives_up=True), tmp_path / "d")
    (Store(tmp_path / "d").incoming / "Condition.1.ndjson.part").write_text("half a li", "utf-8")
    later = [patient(1, version="2"), patient(20), *WORLD[8:]]
    run(Server(*later, exports=False), tmp_path / "d", **options)
    assert tables(tmp_path / "d") == tables_of(later)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_pages_that_the_service_no_longer_has_are_read_from_the_first(tmp_path, status):
    class Forgetful(Server):
        forgets = False

        def search(self, kind, query):
            if "at" in query and self.forgets:
                return httpx.Response(status, json={"resourceType": "OperationOutcome", "issue": []})
            return super().search(kind, query)

    broken = Server(*WORLD, exports=False)
    broken.fails_at = 9
    with pytest.raises(Unavailable):
        run(broken, tmp_path / "d")
    again = Forgetful(*WORLD, exports=False, page=100)
    again.forgets = True
    run(again, tmp_path / "d")
    assert any("at" in query for _, query in again.asked)
    assert tables(tmp_path / "d") == tables_of(WORLD)

    never = Forgetful(*WORLD, exports=False)
    never.forgets = True
    with pytest.raises(CollectError) as problem:
        run(never, tmp_path / "other")
    assert problem.value.code == "collect.refused"


def test_a_resource_that_was_created_again_before_an_interrupted_refresh_goes_on_is_not_deleted(tmp_path, monkeypatch):
    run(Server(*WORLD, exports=False), tmp_path / "d")
    store = Store(tmp_path / "d")
    options = {"since": store.collected().data_time, "known": store.ids()}
    server = Server(*WORLD[1:], exports=False)
    with monkeypatch.context() as patched:
        patched.setattr("insights.fetch.fetching.write_manifest", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(server, tmp_path / "d", **options)
    run(Server(*WORLD, exports=False), tmp_path / "d", **options)
    assert tables(tmp_path / "d") == tables_of(WORLD)


def _interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("lies", [1, 5, 6])
@pytest.mark.parametrize("answer", [(200, ""), (200, "<html>"), (200, "[]"), (200, '{"login": "here"}'), (403, "<p>")])
def test_a_gateway_that_answers_for_an_export_does_not_end_it(tmp_path, answer, lies):
    """It was given up at the first such answer, and hours of the service's work begun again; or taken for empty."""

    class Between(Server):
        left = lies

        def job(self):
            if self.polls == 1 and self.left:
                self.left -= 1
                return httpx.Response(answer[0], text=answer[1])
            return super().job()

    server, pauses = Between(*WORLD), len(waited)
    if lies == 6:
        with pytest.raises(Unavailable) as problem:
            run(server, tmp_path / "d")
        assert problem.value.code == "collect.unavailable"
        assert "--paging" in problem.value.hint
    run(server, tmp_path / "d")
    assert [path for path, _ in server.asked].count("/$export") == 1
    assert tables(tmp_path / "d") == tables_of(WORLD)
    assert [pause for pause in waited[pauses:] if pause != 7] == [10, 20, 40, 80, 120][:lies], "never at once"


def test_only_types_that_views_read_are_asked_for(tmp_path):
    server = Server(*WORLD, exports=False)
    run(server, tmp_path / "d")
    assert {path for path, _ in server.asked} == {"/metadata", "/$export", "/Patient", "/Condition"}
    assert all(re.fullmatch(r"/\$?[A-Za-z]+", path) for path, _ in server.asked)
    assert urlsplit(BASE).path == "/fhir"


@pytest.mark.parametrize("source", ["--ndjson", "--fhir"])
def test_where_no_terminal_shows_the_bars_the_command_writes_no_blank_lines(tmp_path, monkeypatch, source):
    def stand_in(url):
        return connected(url, transport=httpx.MockTransport(Server(*WORLD)), sleep=_no_wait)

    monkeypatch.setattr(service_module, "connected", stand_in)
    address = BASE if source == "--fhir" else str(write(tmp_path / "in", *WORLD))
    ended = CliRunner().invoke(app, ["collect", str(tmp_path / "data"), source, address], catch_exceptions=False)
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert all(line.strip() for line in ended.stderr.splitlines()), ended.stderr

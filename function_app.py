"""
The triggers: each parses what the host hands over, calls `sync`, and returns. Nothing is decided here.

This is the only file that knows the Azure Functions programming model. Queue messages arrive as they were sent
(host.json: ``messageEncoding`` none): one that cannot be decoded gets its dead letter from us, where the host would let
it circle as poison. ``dequeue_count`` is 1 on first delivery. What a queue function raises makes the host deliver the
message again, and after ``maxDequeueCount`` (host.json) move it to ``<queue>-poison``.

A trigger imports what it calls when it is called: indexing the functions loads the Functions library alone, and a
worker that only ingests never loads pages, replays or checks (ADR 0043).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import azure.functions as func

if TYPE_CHECKING:
    from insights.pages import Answer as InsightsPage
    from sync.bootstrap import Running
    from sync.monitoring.ticks import Job
    from sync.web.exchange import Answer, Request
    from sync.web.rendering import RenderedPage

Answering = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


class _BoundedApp(func.FunctionApp):
    """An app whose HTTP functions have a budget, each of them; those of queues and timers have theirs in `sync`."""

    def route(self, *given: Any, **named: Any) -> Callable[[Answering], Any]:
        """Declare an HTTP function, as the library does."""
        declare = super().route(*given, **named)
        return lambda function: declare(_bounded(function))


def _bounded(function: Answering) -> Answering:
    @wraps(function)
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        from sync.errors import SyncError
        from sync.web import exchange

        try:
            return await exchange.within_budget(function(req))
        except SyncError as failure:  # too long, or a service that a function asks first did not answer
            logger.warning("%s function=%s", failure.code, function.__name__)
            told = exchange.answer_of(failure)
            return _json(told.body, code=told.status)

    return answer


app = _BoundedApp(http_auth_level=func.AuthLevel.FUNCTION)
STORAGE = "AzureWebJobsStorage"
logger = logging.getLogger("sync.requests")
_BEGUN: dict[str, float] = {}
"""When this process last began each job of its ticks, by the monotonic clock."""

_NO_PAGE = {"code": "request.not_found", "detail": "there is no such page"}


@app.queue_trigger(arg_name="message", queue_name="objects", connection=STORAGE)
async def ingest_object(message: func.QueueMessage) -> None:
    """Inspect the objects that an event reports as created, overwritten or deleted."""
    from sync.delivery import isolation

    text, attempt, number = _text(message), _attempt(message), message.id or ""

    async def handle(running: Running) -> None:
        sequences = await isolation.deliver_object_message(
            text, running.sources, running.services, attempt=attempt, message_id=number
        )
        if sequences:
            from sync import feeds

            await feeds.wake(sequences, running.services)

    await _take("objects", text, handle)


@app.timer_trigger(schedule="*/5 * * * * *", arg_name="timer", run_on_startup=False)
async def read_feeds(timer: func.TimerRequest) -> None:
    """Read new entries of the DICOM service's change feed and of Orthanc, every five seconds."""
    from sync.bootstrap import jobs

    running = await _running()
    await _run_due(jobs.feeds(running), running)


@app.queue_trigger(arg_name="message", queue_name="studies", connection=STORAGE)
async def project_study(message: func.QueueMessage) -> None:
    """Project one dirty study to FHIR."""
    from sync.delivery import isolation

    text, attempt, number = _text(message), _attempt(message), message.id or ""

    async def handle(running: Running) -> None:
        await isolation.deliver_study_message(text, running.services, attempt=attempt, message_id=number)

    await _take("studies", text, handle)


@app.queue_trigger(arg_name="message", queue_name="slices", connection=STORAGE)
async def walk_slices(message: func.QueueMessage) -> None:
    """Work on slices of replays, backfills, comparisons and exports for some minutes; each message calls one worker."""
    from sync.walks import tending

    redelivered = _attempt(message) > 1

    async def handle(running: Running) -> None:
        await tending.take_turn(running.kinds, running.services, redelivered=redelivered)

    await _take("slices", _text(message), handle)


@app.queue_trigger(arg_name="message", queue_name="objects-poison", connection=STORAGE)
async def ingest_object_poison(message: func.QueueMessage) -> None:
    """Write a dead letter for a poison message of ``objects``, or send it again if it never failed itself."""
    from sync.delivery import isolation

    text = _text(message)

    async def handle(running: Running) -> None:
        await isolation.deliver_poison_object(text, running.sources, running.services)

    await _take("objects-poison", text, handle)


@app.queue_trigger(arg_name="message", queue_name="studies-poison", connection=STORAGE)
async def project_study_poison(message: func.QueueMessage) -> None:
    """Write a dead letter for a poison message of ``studies``, or send it again if it never failed itself."""
    from sync.delivery import isolation

    text = _text(message)

    async def handle(running: Running) -> None:
        await isolation.deliver_poison_study(text, running.services)

    await _take("studies-poison", text, handle)


@app.timer_trigger(schedule="*/30 * * * * *", arg_name="timer", run_on_startup=False)
async def tick(timer: func.TimerRequest) -> None:
    """Sweep, advance walks every 30 seconds, compare every minute, recover and compact every five."""
    from sync.bootstrap import jobs

    running = await _running()
    await _run_due(jobs.repairs(running), running)


@app.timer_trigger(schedule="10,40 * * * * *", arg_name="timer", run_on_startup=False)
async def evaluate_alerts(timer: func.TimerRequest) -> None:
    """Count, detect missing events, and raise and clear alerts, every 30 seconds."""
    from sync.monitoring.alerts.watch import watch

    running = await _running()
    await watch(running.services, recorder=running.recorder, channels=running.channels, listing=running.listing)


@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 if the settings are valid and the state account responds, else 503 with code and hint."""
    from sync import bootstrap
    from sync.errors import ConfigError, SyncError

    try:
        running = await bootstrap.ready()
        await running.services.queues.depths()
    except ConfigError as problem:
        failing = {"code": problem.code, "setting": problem.setting, "hint": str(problem)}
        return _json({"status": "failing", **failing}, code=503)
    except SyncError as failure:
        return _json({"status": "failing", "code": failure.code, "hint": failure.hint}, code=503)
    return _json({"status": "ok"})


@app.route(route="status", methods=["GET"])
async def status(req: func.HttpRequest) -> func.HttpResponse:
    """Return the sync status: verdict, reasons, counts and alerts."""
    from sync.monitoring import status as operations

    running = await _running()
    return _json(await operations.status(running.services))


@app.route(route="metrics", methods=["GET"])
async def metrics(req: func.HttpRequest) -> func.HttpResponse:
    """Return the metrics of all workers in the text format of Prometheus."""
    from sync.web import prometheus

    running = await _running()
    return _page(await prometheus.metrics(running.services))


@app.route(route="studies", methods=["GET", "POST"])
async def studies(req: func.HttpRequest) -> func.HttpResponse:
    """List studies by state, modality, date and identifier; by patient ID for an operator, by POST."""
    from sync.web import study_list

    running = await _running()
    return await _answered(study_list.answer_studies(_request(req), running.services))


@app.route(route="studies/{uid}", methods=["GET"])
async def study(req: func.HttpRequest) -> func.HttpResponse:
    """Return one study: its state, its FHIR resources and its findings."""
    from sync.model import StudyRef
    from sync.monitoring import study_state

    running = await _running()
    asked = StudyRef(study_instance_uid=req.route_params["uid"], partition=req.params.get("partition", ""))
    state = await study_state.study_state(asked, running.services)
    return _json(state) if state else _json(study_state.UNKNOWN, code=404)


@app.route(route="dead-letters", methods=["GET"])
async def dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    """List dead letters, grouped by code or one page of a code."""
    from sync.web import dead_letters as letters

    running = await _running()
    return await _answered(letters.list_dead_letters(_request(req), running.services))


@app.route(route="dead-letters/{kind}/{subject}", methods=["GET"])
async def dead_letter(req: func.HttpRequest) -> func.HttpResponse:
    """Return one dead letter."""
    from sync.web import dead_letters as letters

    running = await _running()
    return await _answered(letters.show_dead_letter(_request(req), running.services))


@app.route(route="dead-letters/retry", methods=["POST"])
async def retry_dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    """Requeue dead-lettered items, for an operator."""
    from sync.web import dead_letters as letters

    running = await _running()
    return await _answered(letters.retry_selected(_request(req), running.sources, running.services))


@app.route(route="dead-letters/discard", methods=["POST"])
async def discard_dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    """Discard dead letters, for an operator who gives a reason."""
    from sync.web import dead_letters as letters

    running = await _running()
    return await _answered(letters.discard_selected(_request(req), running.services))


@app.route(route="removals", methods=["GET"])
async def removals(req: func.HttpRequest) -> func.HttpResponse:
    """Return how many removals the ceiling holds."""
    from sync.web import removals as held

    running = await _running()
    return await _answered(held.show_removals(running.services))


@app.route(route="removals/{decision}", methods=["POST"])
async def decide_removals(req: func.HttpRequest) -> func.HttpResponse:
    """Confirm or refuse the removals that are held, for an operator who gives a reason."""
    from sync.web import removals as held

    running = await _running()
    return await _answered(held.decide_removals(_request(req), running.sources, running.services))


@app.route(route="dashboard/{page?}", methods=["GET", "POST"])
async def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """Serve the dashboard and its actions."""
    from sync.web import dashboard as pages

    running = await _running()
    page = await pages.dashboard(_request(req), req.url, req.method, running.sources, running.services)
    return _page(page)


@app.route(route="dashboard/static/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def dashboard_file(req: func.HttpRequest) -> func.HttpResponse:
    """Serve the dashboard's style sheet and script."""
    from sync.web import rendering

    return _page(rendering.file(req.route_params.get("name", "")))


@app.route(route="timeline/{patient}", methods=["GET"])
async def timeline(req: func.HttpRequest) -> func.HttpResponse:
    """Serve the timeline of one patient, if the setting is on, to users with the app role."""
    running = await _running()
    settings = running.services.settings
    if not settings.timeline:  # then nothing of insights is loaded
        return _json(_NO_PAGE, code=404)
    from insights.timeline.served import serve

    page = await serve(dict(req.headers), req.route_params.get("patient", ""), settings)
    return _html(page)


@app.route(route="inbox", methods=["GET", "POST"])
async def inbox(req: func.HttpRequest) -> func.HttpResponse:
    """Serve a reader's inbox of outcomes and take marks, if the setting is on, to users with the app role."""
    running = await _running()
    settings = running.services.settings
    if not settings.inbox:  # then nothing of insights is loaded
        return _json(_NO_PAGE, code=404)
    from insights.inbox.served import serve

    page = await serve(dict(req.headers), req.method or "GET", req.get_body(), settings)
    return _html(page)


@app.route(route="replay", methods=["GET"])
async def replay_list(req: func.HttpRequest) -> func.HttpResponse:
    """List replays with their request and progress."""
    from sync.web import replays

    running = await _running()
    return await _answered(replays.list_replays(running.services))


@app.route(route="replay", methods=["POST"])
async def replay(req: func.HttpRequest) -> func.HttpResponse:
    """Start a replay, for an operator, and return at once."""
    from sync.web import replays

    running = await _running()
    return await _answered(replays.start_replay(_request(req), running.replayed, running.services))


@app.route(route="walks", methods=["GET"])
async def walks(req: func.HttpRequest) -> func.HttpResponse:
    """List replays, backfills, comparisons and exports with their progress over all workers."""
    from sync.web import walks as shared

    running = await _running()
    return await _answered(shared.show_walks(running.services))


@app.route(route="walks", methods=["POST"])
async def backfill(req: func.HttpRequest) -> func.HttpResponse:
    """Start a backfill, for an operator, and return at once."""
    from sync.web import walks as shared

    running = await _running()
    return await _answered(shared.start_backfill(_request(req), running.sources.containers, running.services))


@app.route(route="walks/{id}/{deed}", methods=["POST"])
async def change_walk(req: func.HttpRequest) -> func.HttpResponse:
    """Pause, resume or cancel a walk, for an operator."""
    from sync.web import walks as shared

    running = await _running()
    return await _answered(shared.change_walk(_request(req), running.services))


async def _running() -> Running:
    """Return the services of this process; the first call loads and builds them."""
    from sync import bootstrap

    return await bootstrap.running()


async def _take(queue: str, text: str, handle: Callable[[Running], Awaitable[None]]) -> None:
    from sync.bootstrap.deliveries import take

    await take(queue, text, handle)


async def _run_due(jobs: Sequence[Job], running: Running) -> None:
    from sync.monitoring.ticks import run_due

    await run_due(jobs, _BEGUN, running.services)


def _text(message: func.QueueMessage) -> str:
    from sync.events import message_text

    return message_text(message.get_body())


def _attempt(message: func.QueueMessage) -> int:
    return message.dequeue_count or 1


def _json(body: dict[str, Any], *, code: int = 200) -> func.HttpResponse:
    headers = {"Cache-Control": "no-store"}
    return func.HttpResponse(json.dumps(body), status_code=code, mimetype="application/json", headers=headers)


def _page(page: RenderedPage) -> func.HttpResponse:
    headers = dict(page.headers)
    return func.HttpResponse(page.body, status_code=page.status, mimetype=page.mimetype, headers=headers)


def _html(page: InsightsPage) -> func.HttpResponse:
    return func.HttpResponse(page.body, status_code=page.status, mimetype="text/html", headers=dict(page.headers))


def _request(req: func.HttpRequest) -> Request:
    from sync.web.exchange import Request

    return Request(
        headers=dict(req.headers), query=dict(req.params), params=dict(req.route_params), body=req.get_body()
    )


async def _answered(work: Awaitable[Answer]) -> func.HttpResponse:
    from sync.web import exchange

    answer = await exchange.answered(work)
    return _json(answer.body, code=answer.status)

"""An app that does as its messages say, and notes what it does: for trials of Functions hosts."""

import asyncio
import json
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
STORAGE = "AzureWebJobsStorage"
WORK = os.environ["WORK"]


def note(**fields):
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(json.dumps(fields) + "\n")


async def begun(n):
    """Wait until another order was noted as begun."""
    notes = Path(os.environ["NOTES"])
    while n is not None and f'"n": {json.dumps(n)}, ' not in notes.read_text():  # noqa: ASYNC110, ASYNC240 -- a file
        await asyncio.sleep(0.05)


@app.queue_trigger(arg_name="message", queue_name=WORK, connection=STORAGE)
async def work(message: func.QueueMessage) -> None:
    order = json.loads(message.get_body())
    note(n=order["n"], delivery=message.dequeue_count, what="begun")
    await asyncio.sleep(order.get("seconds", 0))
    await begun(order.get("after"))
    if message.dequeue_count <= order.get("exits", 0):
        os._exit(1)
    if message.dequeue_count <= order.get("hangs", 0):
        await asyncio.Event().wait()
    if message.dequeue_count <= order.get("failures", 0):
        raise RuntimeError("as ordered")
    note(n=order["n"], delivery=message.dequeue_count, what="done")


@app.queue_trigger(arg_name="message", queue_name=f"{WORK}-last-poison", connection=STORAGE)
async def last(message: func.QueueMessage) -> None:
    note(n="last", delivery=message.dequeue_count, what="begun")
    raise RuntimeError("no queue is left for it")


@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def tick(timer: func.TimerRequest) -> None:
    note(n="tick", what="begun")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def yearly(timer: func.TimerRequest) -> None:
    note(n="yearly", what="begun", late=timer.past_due)


@app.route(route="items/{kind}/{id?}", methods=["GET", "PUT"])
async def items(req: func.HttpRequest) -> func.HttpResponse:
    said = {
        "method": req.method,
        "params": dict(req.route_params),
        "query": dict(req.params),
        "body": req.get_body().decode(),
        "header": req.headers.get("X-Asked"),
    }
    return func.HttpResponse(json.dumps(said), status_code=201, mimetype="application/json", headers={"X-Told": "yes"})


@app.route(route="items/fixed")
async def fixed(req: func.HttpRequest) -> str:
    return "fixed"


@app.route(route="broken", methods=["GET"])
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("as ordered")


@app.route(route="slow", methods=["GET"])
async def slow(req: func.HttpRequest) -> str:
    note(n="slow", what="begun")
    await asyncio.sleep(1)
    return "done"


@app.route(route="dashboard/static/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def file(req: func.HttpRequest) -> str:
    return "by this a host is known to serve"

"""
Our app, indexed by Microsoft's worker library in a process of its own, and invoked line by line.

Prints the bindings as one line of JSON, then answers each line of standard input, ``{"function", "kind", "value",
"dequeue_count"}``, with ``{"status", "body"}`` of an HTTP answer, ``{"error"}`` of a failure, or ``{}``.
"""

import asyncio
import json
import sys
from pathlib import Path

from local.host.messages import RpcHttp, TypedData
from local.host.worker import FunctionError, Worker

APP = Path(__file__).parents[3]


async def serve():
    worker = await Worker.start(APP)
    say({name: [dict(binding) for binding in function.bindings] for name, function in worker.functions.items()})
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(await answer(worker, json.loads(line)))


async def answer(worker, asked):
    sent = asked["value"] or {}
    request = (
        RpcHttp(
            method=sent.get("method", "GET"),
            url="http://127.0.0.1/api",
            headers=sent.get("headers", {}),
            query=sent.get("query", {}),
            params=sent.get("params", {}),
            body=TypedData(bytes=sent.get("body", "").encode()),
        )
        if asked["kind"] == "http"
        else None
    )
    value = request if asked["kind"] == "http" else asked["value"]
    metadata = {"DequeueCount": TypedData(json=json.dumps(asked.get("dequeue_count", 1)))}
    try:
        returned = await worker.invoke(
            worker.functions[asked["function"]], TypedData(**{asked["kind"]: value}), metadata
        )
    except FunctionError as failure:
        return {"error": str(failure)}
    if returned is None or returned.kind != "http":
        return {}
    return {"status": int(returned.value.status_code), "body": returned.value.body.value.decode()}


def say(something):
    sys.stdout.write(json.dumps(something) + "\n")
    sys.stdout.flush()


asyncio.run(serve())

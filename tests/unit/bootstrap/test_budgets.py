"""Every function ends by itself long before the host ends it, and with it all that its worker has in hand."""

import asyncio
import json
from functools import partial
from pathlib import Path

import azure.functions as func
import pytest

import function_app
from local.host.settings import read_host_settings
from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.monitoring.ticks import LONGEST_TICK
from sync.monitoring.timers import BUDGET
from sync.walks import sharing, tending
from sync.web import exchange

ROOT = Path(__file__).parents[3]
LIMIT = read_host_settings(ROOT).function_timeout
GATEWAY = 230.0
"""Seconds after which Azure's load balancer ends a request."""

HTTP = [function for function in function_app.app.get_functions() if function.is_http_function()]


@pytest.mark.parametrize("function", HTTP, ids=lambda route: route.get_function_name())
def test_every_http_function_has_a_budget(function):
    assert function.get_user_function().__code__ is function_app._bounded(print).__code__


async def test_an_answer_that_takes_too_long_is_cut_off_and_told(monkeypatch):
    cut = []

    async def endless(req):
        try:
            await asyncio.Event().wait()
        finally:
            cut.append(req.method)

    monkeypatch.setattr(exchange, "within_budget", partial(exchange.within_budget, seconds=0.01))
    answer = await function_app._bounded(endless)(func.HttpRequest("GET", "/api/endless", body=b""))
    assert (answer.status_code, json.loads(answer.get_body())["code"]) == (503, "request.too_long")
    assert cut == ["GET"]


async def test_a_failure_of_ours_that_a_function_lets_through_is_an_answer_and_no_crash():
    async def refused(_):
        raise StoreUnavailable("no answer")

    answer = await function_app._bounded(refused)(func.HttpRequest("GET", "/api/status", body=b""))
    told = json.loads(answer.get_body())
    assert (answer.status_code, told["code"], told["detail"]) == (503, "store.unavailable", "no answer")
    assert told["hint"] == StoreUnavailable.hint


async def test_a_time_out_of_the_functions_own_is_not_its_budget():
    async def failing(req):
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await function_app._bounded(failing)(func.HttpRequest("GET", "/api/failing", body=b""))


def test_the_budgets_of_all_functions_are_below_the_limit_of_the_host():
    deliveries = Settings.model_fields["delivery_budget_seconds"].default
    watch = 4 * BUDGET  # counts, unread feeds, missing events, evaluation
    longest = (deliveries, watch, LONGEST_TICK, tending.TURN + sharing.GRACE, exchange.LONGEST_ANSWER)
    assert max(longest) <= LIMIT - 60
    assert exchange.LONGEST_ANSWER < GATEWAY

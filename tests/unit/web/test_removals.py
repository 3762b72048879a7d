"""Held removals over HTTP: a decision may be of those that the state has named, and of none held later."""

import json

import pytest

from sync.errors import RequestRefused
from sync.protocol.removals import FEW
from sync.web.exchange import Request
from sync.web.removals import decide_removals, show_removals
from tests.held_removals import MANY, World
from tests.worlds import SOURCES


@pytest.fixture
def w():
    world = World()
    world.services = world.process(operators="key")
    return world


def asked(decision, **fields):
    body = json.dumps({"who": "ada", "why": "as ordered", **fields}).encode()
    return Request(headers={"content-type": "application/json"}, params={"decision": decision}, body=body)


@pytest.mark.parametrize(("decision", "done"), [("confirm", "confirmed"), ("refuse", "refused")])
async def test_a_decision_is_of_the_removals_that_were_shown(w, decision, done):
    await w.fill(MANY + 1)
    await w.lose()
    until = (await show_removals(w.services)).body["until"]
    w.clock.advance(1)
    await w.lose(MANY + 1, first=MANY)
    answer = await decide_removals(asked(decision, until=until), SOURCES, w.services)
    assert answer.body == {done: MANY - FEW}


async def test_a_time_that_is_none_decides_nothing(w):
    await w.fill()
    await w.lose()
    held = w.held()
    with pytest.raises(RequestRefused, match="until: expected a time"):
        await decide_removals(asked("refuse", until="yesterday"), SOURCES, w.services)
    assert w.held() == held

"""Removals above the ceiling, over HTTP: the state, and the decision of an operator."""

from __future__ import annotations

from sync.dead_letters.held_removals import as_json, confirm_removals, refuse_removals
from sync.errors import RequestRefused
from sync.events import Sources
from sync.monitoring.counts import read_count
from sync.operators.access import OPERATOR_HEADER, operator_of
from sync.ports import Counted, Measure, Services
from sync.protocol.removals import read_ceiling
from sync.web.exchange import Answer, Request, fields_of, text_of, time_of

DECISIONS = ("confirm", "refuse")


async def show_removals(s: Measure) -> Answer:
    """Return how many studies lost instances within the hour, and how many removals are held; ``until`` now."""
    until, ceiling, count = s.clock.now(), await read_ceiling(s), await read_count(Counted.DEAD_LETTERS, s)
    return Answer(body=as_json(ceiling, count.counts, until))


async def decide_removals(request: Request, sources: Sources, s: Services) -> Answer:
    """
    Confirm or refuse the held removals, for an operator who gives a reason. Idempotent.

    With a field ``until``, as the state has it, those held later stay held: the operator has not seen them.

    Raises
    ------
    AccessRefused
        The caller may only read.
    RequestRefused
        There is no such decision, operator or reason is missing, or ``until`` is no time.
    """
    decision, fields = request.params.get("decision", ""), fields_of(request)
    if decision not in DECISIONS:
        raise RequestRefused("expected confirm or refuse", code="request.not_found")
    caller = operator_of(request.headers, s.settings, says=text_of(fields, "who"))
    why = text_of(fields, "why")[:1000]
    if not why or not caller.name:
        raise RequestRefused(
            "fields why and who are required", hint=f"Fields why and who, or header {OPERATOR_HEADER}."
        )
    until = time_of(fields, "until")
    if decision == "confirm":
        return Answer(body={"confirmed": await confirm_removals(sources, s, who=caller.name, why=why, until=until)})
    return Answer(body={"refused": await refuse_removals(s, who=caller.name, why=why, until=until)})

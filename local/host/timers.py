"""
Timer triggers: NCRONTAB schedules, in UTC, and the loop that fires them.

croniter knows the calendar. NCRONTAB differs from it in two things, said here: six fields with seconds first, and a
day of the month and a day of the week must both match.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from datetime import UTC, datetime

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from local.host.messages import TypedData
from local.host.worker import Function, FunctionError, Invoker

logger = logging.getLogger(__name__)

_FIELDS = 6
_VALUE = r"(?:\d+|[A-Za-z]{3})"
_FIELD = re.compile(rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/\d+)?")
_ONE_VALUE = re.compile(rf"^({_VALUE})-\1(?:/\d+)?$", re.IGNORECASE)
"""A range of one value, which croniter takes for every value."""


class ScheduleError(Exception):
    """The text is not an NCRONTAB expression, or never fires."""


class Schedule:
    """
    An NCRONTAB expression: second, minute, hour, day, month, day of the week.

    Raises
    ------
    ScheduleError
        See there.
    """

    def __init__(self, text: str) -> None:
        parts = text.split()
        if len(parts) != _FIELDS or not all(_FIELD.fullmatch(value) for part in parts for value in part.split(",")):
            raise ScheduleError(f"expected six NCRONTAB fields, got {text!r}")
        self._text = " ".join(",".join(_ONE_VALUE.sub(r"\1", value) for value in part.split(",")) for part in parts)
        try:
            self.next(datetime.now(UTC))
        except (CroniterBadCronError, CroniterBadDateError) as problem:
            raise ScheduleError(f"{text!r}: {problem}") from None

    def next(self, after: datetime) -> datetime:
        """Return the first time, aware UTC, later than ``after``."""
        times = croniter(self._text, after, day_or=False, second_at_beginning=True)
        following: datetime = times.get_next(datetime)
        return following


class Timer:
    """One timer function: fires when due, one run at a time."""

    def __init__(self, function: Function, worker: Invoker) -> None:
        self.function = function
        self._worker = worker
        self._schedule = Schedule(str(function.trigger["schedule"]))
        self._at_start = bool(function.trigger.get("runOnStartup"))
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether it runs now."""
        return self._one_at_a_time.locked()

    def stop(self) -> None:
        """Fire no more; `run` returns once the present run has ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Fire until stopped."""
        if self._at_start:
            await self.fire()
        due = self._schedule.next(datetime.now(UTC))
        while not await self._stopped_within((due - datetime.now(UTC)).total_seconds()):
            await self.fire()
            # A run that outlasted its schedule is followed by one run at once, for all the times that it missed.
            following, ended = self._schedule.next(due), datetime.now(UTC)
            due = max(following, ended)

    async def fire(self) -> None:
        """Run the function now, after a run that is under way; its failure is logged."""
        now = datetime.now(UTC)
        status = {"Last": now.isoformat(), "Next": self._schedule.next(now).isoformat(), "LastUpdated": now.isoformat()}
        value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
        async with self._one_at_a_time:
            try:
                await self._worker.invoke(self.function, TypedData(json=json.dumps(value)))
            except FunctionError as failure:
                logger.error("%s failed: %s", self.function.name, failure)  # noqa: TRY400 - the trace is the function's

    async def _stopped_within(self, wait: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), max(0.0, wait))
        return self._stopping.is_set()

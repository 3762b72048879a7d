"""The machine's clock is set while a process runs: its time goes on, and the status says what the machine's is."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.adapters import clocks
from sync.adapters.clocks import SystemClock, seconds_set, steady_now
from sync.monitoring.clock import StorageClock, clock_problem
from sync.ports import ClockOffset

MOMENT = timedelta(seconds=5)


class Machine:
    """The machine's clock, set by an hour."""

    def __init__(self, by):
        self.by = by

    def now(self, zone):
        return datetime.now(zone) + self.by


@pytest.mark.parametrize("hours", [1, -1])
def test_the_time_of_a_process_goes_on_when_the_machines_clock_is_set(monkeypatch, hours):
    offset = ClockOffset(seconds_ahead=0.0)
    clock = StorageClock(SystemClock(), offset)
    before = clock.now()
    assert abs(before - datetime.now(UTC)) < MOMENT
    monkeypatch.setattr(clocks, "datetime", Machine(timedelta(hours=hours)))
    assert timedelta(0) <= clock.now() - before < MOMENT
    true = datetime.now(UTC)
    for _ in range(2):
        offset.note(true, sent=steady_now(), received=steady_now(), seconds_set=seconds_set())
    assert timedelta(0) <= clock.now() - before < MOMENT
    assert "3,600 s ahead of" in clock_problem(offset) if hours > 0 else "3,600 s behind" in clock_problem(offset)


def test_a_machines_clock_that_was_wrong_at_the_start_and_is_set_right_is_no_problem(monkeypatch):
    offset = ClockOffset()
    monkeypatch.setattr(clocks, "_STARTED", clocks._STARTED + timedelta(hours=1))
    true = datetime.now(UTC)
    for _ in range(2):
        offset.note(true, sent=steady_now(), received=steady_now(), seconds_set=seconds_set())
    assert abs(StorageClock(SystemClock(), offset).now() - true) < MOMENT
    assert clock_problem(offset) == ""

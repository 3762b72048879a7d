"""How many random schedules are played: 2,000 of each simulation in `make test-all`, fewer in `make test`."""

import os

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "2000"))


def schedules(divisor: int = 1, *, least: int = 1) -> int:
    """Return the number of schedules for a test whose schedules take ``divisor`` times as long; never zero."""
    return max(SCHEDULES // divisor, least)

"""Processor time of other processes, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def children_of(process: int) -> list[int]:
    """Return the running child processes of this one; none where the system does not tell."""
    threads = Path(f"/proc/{process}/task").glob("*/children")  # proc(5): of whichever thread started them
    return [int(child) for record in threads for child in record.read_text(encoding="utf-8").split()]


def worked(processes: Sequence[int]) -> float:
    """Return the milliseconds of processor time that the processes have used; 0 where the system does not tell."""
    ticks = 0
    for process in processes:
        record = Path(f"/proc/{process}/stat")
        if record.exists():
            # After the name in parentheses: state is field 3, utime and stime are 14 and 15 (proc(5)).
            fields = record.read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")

"""
Branch coverage by ``sys.monitoring`` on Python 3.13: as coverage.py does it from 3.14 on, for less CPU.

A plugin of pytest, which ``scripts/test`` loads for the unit tests. Coverage.py needs the two events of a branch that
Python 3.14 has, one per direction. In 3.13 one event tells both, and to disable it disables both; so it stays enabled
until both directions were taken. On another version, coverage.py chooses.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType
from typing import Any

import coverage.bytecode
import coverage.control
from coverage.core import Core
from coverage.disposition import FileDisposition
from coverage.sysmon import SysMonitor


class BranchMonitor(SysMonitor):
    """The tracer of coverage.py, with one event for both directions of a branch."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[int, dict[int, int]] = {}

    def local_events(self) -> int:
        """Return the events of code that is measured."""
        events = sys.monitoring.events
        return events.LINE | events.PY_RETURN | events.BRANCH

    def start(self) -> None:
        """Measure from now on."""
        super().start()
        first_directions: dict[tuple[int, int], int] = {}
        direction_of, note = first_directions.get, self.sysmon_branch_either

        def branch(code: CodeType, instruction: int, destination: int) -> Any:
            """Note a direction when it is first taken; with the second, none is left. Called most often of all."""
            first = direction_of((id(code), instruction))
            if first == destination:
                return None
            if not self._knows(code):
                return sys.monitoring.DISABLE
            first_directions[id(code), instruction] = destination
            disable = note(code, instruction, destination)
            return None if first is None else disable

        sys.monitoring.register_callback(self.myid, sys.monitoring.events.BRANCH, branch)

    def sysmon_line_arcs(self, code: CodeType, line_number: int) -> Any:
        """Note a line, and with the first of the body of an ``async for`` the way into it, which is no event."""
        if not self._knows(code):
            return sys.monitoring.DISABLE
        if id(code) not in self._bodies:
            self._bodies[id(code)] = bodies_of_async_loops(code)
        loop = self._bodies[id(code)].get(line_number)
        if loop is not None:
            self.code_infos[id(code)].file_data.add((loop, line_number))  # type: ignore[union-attr, arg-type]
        return super().sysmon_line_arcs(code, line_number)

    def sysmon_py_return(self, code: CodeType, instruction_offset: int, retval: object) -> Any:
        """Note that a function ended."""
        if not self._knows(code):
            return sys.monitoring.DISABLE
        return super().sysmon_py_return(code, instruction_offset, retval)

    def _knows(self, code: CodeType) -> bool:
        # Events come, rarely, of code whose start was no event, and after the end of all measuring.
        if id(code) not in self.code_infos and self.sysmon_on:
            self.sysmon_py_start(code, 0)
        return id(code) in self.code_infos and self.code_infos[id(code)].tracing


class MonitoringCore(Core):
    """What coverage.py's own class decides for ``sysmon``, which it would take from Python 3.14 on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tracer_class = BranchMonitor
        self.tracer_kwargs = {}
        self.file_disposition_class = FileDisposition
        self.supports_plugins = self.supports_dynamic_contexts = False
        self.packed_arcs = self.systrace = False


def bodies_of_async_loops(code: CodeType) -> dict[int, int]:
    """Return the line of each ``async for`` by the first line of its body."""
    bodies, loop, inside = {}, None, False
    for instruction in dis.get_instructions(code):
        if instruction.opname == "GET_ANEXT":
            loop, inside = instruction.line_number, False
        elif instruction.opname == "END_SEND":
            inside = True
        elif loop is not None and inside and instruction.line_number not in (None, loop):
            bodies[instruction.line_number] = loop
            loop = None
    return bodies


if sys.version_info[:2] == (3, 13):
    coverage.control.Core = MonitoringCore  # type: ignore[misc]
    coverage.bytecode.RETURNS.add(dis.opmap["RETURN_CONST"])  # Python 3.14 has it no more

"""
The mapping, which is pure, done once for the same rows.

Thousands of schedules build the same few studies again and again, which took a third of their time. Mutants change the
protocol, never the mapping.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sync.mapping import imaging_study, validation
from sync.mapping.imaging_study import StudyResources
from sync.model import Cursor, LedgerRow, Resource, StudyRef
from sync.projection import upsert
from sync.protocol.walk_rows import Slice, WalkRow

MOST = 20_000
"""Results that are kept."""

CHECKED = 100
"""How many calls pass until a result that was kept is made again, and must be the same."""


class Once:
    """Results of a pure function by what it was called with; each caller gets a copy of its own."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._calls = 0

    def result(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made before of the same key, or make it."""
        self._calls += 1
        of = pickle.dumps(key)
        if of not in self._kept:
            made = make()
            if len(self._kept) < MOST:
                self._kept[of] = pickle.dumps(made)
            return made
        kept = pickle.loads(self._kept[of])
        if self._calls % CHECKED == 0 and make() != kept:
            raise RuntimeError("it is not pure")  # an AssertionError would be taken for a mutant that is caught
        return kept


@pytest.fixture(scope="module")
def rows_read_once() -> Iterator[None]:
    """
    Read walks and slices once of the same row: processes that share a walk look at all rows before each step.

    Rows are frozen, so one that changed is another object; copies of these classes that mutants make do not do so.
    """
    with pytest.MonkeyPatch.context() as patch:
        for kind in (WalkRow, Slice):
            patch.setattr(kind, "of", staticmethod(_of_same_row(kind.of)))
        yield


def _of_same_row(read: Callable[[Cursor], Any]) -> Callable[[Cursor], Any]:
    kept: dict[int, tuple[Cursor, Any]] = {}
    calls = 0

    def of(cursor: Cursor) -> Any:
        nonlocal calls
        calls += 1
        before = kept.get(id(cursor))
        if before is None or before[0] is not cursor:
            if len(kept) >= MOST:
                kept.clear()
            before = kept[id(cursor)] = cursor, read(cursor)
        elif calls % CHECKED == 0 and read(cursor) != before[1]:
            raise RuntimeError("a row that is kept changed")  # an AssertionError would be taken for a caught mutant
        return before[1]

    return of


@pytest.fixture(scope="module")
def mapped_once() -> Iterator[None]:
    """Build studies, and validate resources, that were not before; the copies that mutants make do so too."""
    build, fault = imaging_study.build_study, validation._fault_of_model
    built, validated = Once(), Once()

    def build_once(study: StudyRef, rows: Sequence[LedgerRow], settings: Any) -> StudyResources:
        key = (study, tuple(rows), settings.__dict__)
        return built.result(key, lambda: build(study, rows, settings))

    def fault_once(kind: str, resource: Resource) -> str | None:
        return validated.result((kind, resource), lambda: fault(kind, resource))

    with pytest.MonkeyPatch.context() as patch:
        for module in (imaging_study, upsert):
            patch.setattr(module, "build_study", build_once)
        patch.setattr(validation, "_fault_of_model", fault_once)
        yield

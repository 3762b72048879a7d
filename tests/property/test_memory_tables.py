"""Any run of writes: the tables in memory hold what a plain dictionary says, and no coroutine of theirs suspends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from sync.errors import StoreConflict
from sync.model import DirtyStudy, Locator, ObjectRef, Stored, StudyRef
from sync.testing.state import MemoryDirtyStudies, MemoryLocators
from tests.property import examples

NAMES = sampled_from(["a", "b"])
STALE = "never given"


def driven(coroutine):
    """Run a coroutine that never suspends, without an event loop."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


def locator(name, etag=None):
    return Locator(object=ObjectRef(account="account", container="dicom", name=name), etag=etag)


def study(name):
    return StudyRef(study_instance_uid=f"2.25.{ord(name)}")


class Tables(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.locators, self.dirty = MemoryLocators(), MemoryDirtyStudies()
        self.rows, self.marks = {}, {}
        self.given = set()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def fresh(self, etag):
        """No ETag comes twice, not even after a deletion."""
        assert etag not in self.given
        self.given.add(etag)
        return etag

    @rule(name=NAMES)
    def insert(self, name):
        if name in self.rows:
            with pytest.raises(StoreConflict):
                driven(self.locators.insert(locator(name)))
        else:
            self.rows[name] = Stored(locator(name), self.fresh(driven(self.locators.insert(locator(name)))))

    @rule(name=NAMES, of=NAMES)
    def replace(self, name, of):
        """Try the ETag of this row, of the other, or none that was ever given."""
        etag = self.rows[of].etag if of in self.rows else STALE
        new = locator(name, etag)
        if name == of in self.rows:
            self.rows[name] = Stored(new, self.fresh(driven(self.locators.replace(new, etag))))
        else:
            with pytest.raises(StoreConflict):
                driven(self.locators.replace(new, etag))

    @rule(name=NAMES, seconds=integers(0, 9))
    def mark(self, name, seconds):
        self.now += timedelta(seconds=seconds)
        known = self.marks.get(name)
        assert driven(self.dirty.mark(study(name), self.now)) is (known is None)
        first, attempts = (known.value.first_marked, known.value.attempts) if known else (self.now, 0)
        value = DirtyStudy(study=study(name), first_marked=first, last_marked=self.now, attempts=attempts)
        self.marks[name] = Stored(value, self.fresh(driven(self.dirty.read(study(name))).etag))

    @precondition(lambda self: self.marks)
    @rule(name=NAMES, of=NAMES)
    def postpone(self, name, of):
        etag = self.marks[of].etag if of in self.marks else STALE
        attempts = self.marks[name].value.attempts + 1 if name in self.marks else 1
        first = self.marks[name].value.first_marked if name in self.marks else self.now
        value = DirtyStudy(study=study(name), first_marked=first, last_marked=self.now, attempts=attempts)
        if name == of in self.marks:
            driven(self.dirty.postpone(value, etag))
            self.marks[name] = Stored(value, self.fresh(driven(self.dirty.read(study(name))).etag))
        else:
            with pytest.raises(StoreConflict):
                driven(self.dirty.postpone(value, etag))

    @rule(name=NAMES, of=NAMES)
    def delete(self, name, of):
        etag = self.marks[of].etag if of in self.marks else STALE
        if name == of in self.marks:
            driven(self.dirty.delete(study(name), etag))
            del self.marks[name]
        else:
            with pytest.raises(StoreConflict):
                driven(self.dirty.delete(study(name), etag))

    @invariant()
    def holds_what_the_dictionary_says(self):
        for name in "ab":
            assert driven(self.locators.read(locator(name).object)) == self.rows.get(name)
            assert driven(self.dirty.read(study(name))) == self.marks.get(name)


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)

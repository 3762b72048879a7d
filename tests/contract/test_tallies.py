"""Counts of rows: the same in memory and in tables, page by page, without reading what rows hold."""

from collections import Counter
from datetime import timedelta

from sync.model import DeadLetter, DeadLetterEntry, Projection, SubjectKind
from sync.ports import Counted, Tally
from sync.ports.operations import NEWEST
from tests.contract.storage import NOW, fresh, fresh_study


async def counted(storage, table):
    tally = Tally(counts={})
    while True:
        tally += await storage.tallies.page(table, tally.token)
        if tally.token is None:
            return Counter(tally.counts), tally


def letter(code, age, **fields):
    return DeadLetter(
        kind=SubjectKind.STUDY,
        subject=fresh(),
        code=code,
        detail="",
        hint="",
        first_at=NOW - timedelta(days=age),
        **{"last_at": NOW, **fields},
    )


async def test_an_empty_table_counts_nothing(storage):
    tally = await storage.tallies.page(Counted.DIRTY)
    assert tally.token is None or tally.counts  # other tests of the run may have left rows


async def test_dead_letters_are_counted_by_code_with_the_oldest(storage):
    code = f"made.{fresh()}"
    for age in (3, 40_000, 1):
        await storage.dead_letters.put(letter(code, age))
    counts, letters = await counted(storage, Counted.DEAD_LETTERS)
    assert counts[code] == 3
    assert letters.oldest == NOW - timedelta(days=40_000)
    assert letters.groups[code].oldest == NOW - timedelta(days=40_000)


async def test_the_newest_dead_letters_of_a_code_are_named(storage):
    code = f"made.{fresh()}"
    letters = [letter(code, 9, last_at=NOW - timedelta(hours=hours)) for hours in (5, 1, 4, 2, 3)]
    for put in letters:
        await storage.dead_letters.put(put)
    _, counted_letters = await counted(storage, Counted.DEAD_LETTERS)
    newest = sorted(letters, key=lambda one_letter: one_letter.last_at, reverse=True)[:NEWEST]
    assert counted_letters.groups[code].newest == tuple(
        DeadLetterEntry(
            kind=one_letter.kind,
            subject=one_letter.subject,
            code=code,
            first_at=one_letter.first_at,
            last_at=one_letter.last_at,
        )
        for one_letter in newest
    )


async def test_outstanding_studies_are_counted_with_the_oldest(storage):
    before, _ = await counted(storage, Counted.DIRTY)
    for age in (0, 40_000):
        await storage.dirty.mark(fresh_study(), NOW - timedelta(days=age))
    after, marks = await counted(storage, Counted.DIRTY)
    assert after["studies"] - before["studies"] == 2
    assert marks.oldest == NOW - timedelta(days=40_000)


async def test_only_finished_studies_with_instances_are_in_fhir(storage):
    before, _ = await counted(storage, Counted.PROJECTIONS)
    for fields in ({"instances": 3, "finished": True}, {"instances": 4, "finished": True}, {"instances": 5}, {}):
        study = fresh_study()
        await storage.projections.write(Projection(study=study, fhir_id="x", **fields), None)
    after, _ = await counted(storage, Counted.PROJECTIONS)
    assert (after["studies"] - before["studies"], after["instances"] - before["instances"]) == (2, 7)

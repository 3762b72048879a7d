"""Counts of rows: the same in memory and in tables, page by page, without reading what rows hold."""

from collections import Counter
from datetime import timedelta

from sync.model import DeadLetter, Projection, SubjectKind
from sync.ports import Counted
from tests.contract.storage import NOW, fresh, fresh_study


async def counted(storage, table):
    counts, token, oldest = Counter(), None, []
    while True:
        tally = await storage.tallies.page(table, token)
        counts.update(tally.counts)
        oldest += [tally.oldest] if tally.oldest else []
        token = tally.token
        if token is None:
            return counts, min(oldest, default=None)


def letter(code, age):
    return DeadLetter(
        kind=SubjectKind.STUDY,
        subject=fresh(),
        code=code,
        detail="",
        hint="",
        first_at=NOW - timedelta(days=age),
        last_at=NOW,
    )


async def test_an_empty_table_counts_nothing(storage):
    tally = await storage.tallies.page(Counted.DIRTY)
    assert tally.token is None or tally.counts  # other tests of the run may have left rows


async def test_dead_letters_are_counted_by_code_with_the_oldest(storage):
    code = f"made.{fresh()}"
    for age in (3, 40_000, 1):
        await storage.dead_letters.put(letter(code, age))
    counts, oldest = await counted(storage, Counted.DEAD_LETTERS)
    assert counts[code] == 3
    assert oldest == NOW - timedelta(days=40_000)


async def test_outstanding_studies_are_counted_with_the_oldest(storage):
    before, _ = await counted(storage, Counted.DIRTY)
    for age in (0, 40_000):
        await storage.dirty.mark(fresh_study(), NOW - timedelta(days=age))
    after, oldest = await counted(storage, Counted.DIRTY)
    assert after["studies"] - before["studies"] == 2
    assert oldest == NOW - timedelta(days=40_000)


async def test_only_finished_studies_with_instances_are_in_fhir(storage):
    before, _ = await counted(storage, Counted.PROJECTIONS)
    for fields in ({"instances": 3, "finished": True}, {"instances": 4, "finished": True}, {"instances": 5}, {}):
        study = fresh_study()
        await storage.projections.write(Projection(study=study, fhir_id="x", **fields), None)
    after, _ = await counted(storage, Counted.PROJECTIONS)
    assert (after["studies"] - before["studies"], after["instances"] - before["instances"]) == (2, 7)

"""What checks found to disagree, by subject."""

from dataclasses import replace
from datetime import timedelta

from sync.model import Drift, DriftKind
from tests.contract.storage import NOW, fresh

LATER = NOW + timedelta(hours=1)


def drift(subject, kind=DriftKind.MISSING, **fields):
    return Drift(subject=subject, kind=kind, resource=f"ImagingStudy/is-{fresh()}", **fields)


async def of(storage, *subjects):
    drifts = [stored async for stored in storage.drifts.all() if stored.subject in subjects]
    return sorted(drifts, key=lambda stored: (stored.subject, stored.kind.value))


async def test_what_was_found_comes_back_as_it_was_noted(storage):
    full = drift(fresh(), detail="series, status", kept=True)
    await storage.drifts.note(full.subject, [full], NOW)
    assert await of(storage, full.subject) == [replace(full, first_at=NOW, last_at=NOW)]


async def test_what_is_found_again_keeps_the_time_when_it_was_first_seen(storage):
    one = drift(fresh())
    await storage.drifts.note(one.subject, [one], NOW)
    await storage.drifts.note(one.subject, [one], LATER)
    assert await of(storage, one.subject) == [replace(one, first_at=NOW, last_at=LATER)]


async def test_what_a_round_has_noted_stays_its_own_when_another_check_finds_it(storage):
    """The round repairs what its rows name: one that another check had taken over was reported and left."""
    one = drift(fresh())
    of_round = replace(one, found_in="a round")
    await storage.drifts.note(one.subject, [of_round], NOW)
    await storage.drifts.note(one.subject, [one], LATER)
    assert await of(storage, one.subject) == [replace(of_round, first_at=NOW, last_at=NOW)]
    await storage.drifts.note(one.subject, [replace(one, kept=True)], LATER)
    assert await of(storage, one.subject) == [replace(of_round, kept=True, first_at=NOW, last_at=LATER)]
    await storage.drifts.note(one.subject, [replace(one, found_in="the next")], LATER)
    assert await of(storage, one.subject) == [replace(one, found_in="the next", first_at=NOW, last_at=LATER)]


async def test_a_note_replaces_all_that_was_known_of_the_subject_and_nothing_of_others(storage):
    gone, stays, other = drift(fresh()), drift(fresh()), drift(fresh())
    stays, new = replace(stays, subject=gone.subject), drift(gone.subject, DriftKind.DOUBLED)
    await storage.drifts.note(gone.subject, [gone, stays], NOW)
    await storage.drifts.note(other.subject, [other], NOW)
    await storage.drifts.note(gone.subject, [stays, new], LATER)
    dated = [replace(new, first_at=LATER, last_at=LATER), replace(stays, first_at=NOW, last_at=LATER)]
    assert await of(storage, gone.subject) == dated
    await storage.drifts.note(gone.subject, [], LATER)
    assert await of(storage, gone.subject, other.subject) == [replace(other, first_at=NOW, last_at=NOW)]


async def test_a_subject_that_is_an_address_can_be_noted(storage):
    orphan = drift(f"Patient/pt-{fresh()}", DriftKind.ORPHANED)
    await storage.drifts.note(orphan.subject, [orphan], NOW)
    assert [letter.subject for letter in await of(storage, orphan.subject)] == [orphan.subject]

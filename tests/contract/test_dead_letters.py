"""Dead letters and the audit trail: what both storages promise. Azurite is shared, so codes are a test's own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sync.errors import MessageTooLarge, StoreConflict
from sync.model import AuditEntry, DeadLetter, SubjectKind
from sync.model.result_events import ResultEvent
from tests.contract.storage import NOW, fresh


def letter(**fields):
    usual = {"subject": fresh(), "code": "header.not_dicom", "detail": "no prefix", "hint": "Replace it."}
    return DeadLetter(**{"kind": SubjectKind.OBJECT, "first_at": NOW, "last_at": NOW, **usual, **fields})


async def read(storage, one):
    stored = await storage.dead_letters.read(one.kind, one.subject)
    return stored.value if stored else None


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"kind": SubjectKind.STUDY},
        {"kind": SubjectKind.MESSAGE, "message": '{"a": "é"}\x00' * 5000, "queue": "objects"},
        {"kind": SubjectKind.MESSAGE, "message": "", "queue": "studies"},
    ],
    ids=["object", "study", "long message", "empty message"],
)
async def test_a_letter_keeps_what_a_retry_needs(storage, kept):
    one = letter(**kept)
    await storage.dead_letters.put(one)
    assert await read(storage, one) == one
    assert [stored async for stored in storage.dead_letters.all() if stored.subject == one.subject] == [one]


async def test_a_letter_is_new_for_its_subject_or_its_code_and_not_when_it_is_written_again(storage):
    one = letter()
    again = [await storage.dead_letters.put(version) for version in (one, one, replace(one, code="header.limit"), one)]
    assert again == [True, False, True, True]
    await storage.dead_letters.clear(one.kind, one.subject)
    assert await storage.dead_letters.put(one), "it was resolved, so it fails anew"


async def test_a_letter_that_is_not_there_reads_as_none(storage):
    assert await read(storage, letter()) is None


async def test_the_subjects_of_a_kind_are_all_there_or_too_many(storage):
    ones = [letter() for _ in range(3)]
    other = letter(kind=SubjectKind.STUDY)
    for one in (*ones, other):
        await storage.dead_letters.put(one)
    there = len([stored async for stored in storage.dead_letters.all() if stored.kind is SubjectKind.OBJECT])
    subjects = await storage.dead_letters.subjects(SubjectKind.OBJECT, there)
    assert len(subjects) == there
    assert subjects >= {one.subject for one in ones}
    assert other.subject not in subjects
    assert await storage.dead_letters.subjects(SubjectKind.OBJECT, there - 1) is None


async def test_a_letter_shows_no_secret_of_its_own_accord(storage):
    one = letter(message="Doe^Jane")
    assert "Doe" not in repr(one)


async def test_only_the_letter_that_was_read_can_be_deleted(storage):
    one = letter()
    await storage.dead_letters.put(one)
    stored = await storage.dead_letters.read(one.kind, one.subject)
    await storage.dead_letters.put(one)
    with pytest.raises(StoreConflict):
        await storage.dead_letters.delete(one, stored.etag)
    stored = await storage.dead_letters.read(one.kind, one.subject)
    await storage.dead_letters.delete(one, stored.etag)
    assert await read(storage, one) is None
    with pytest.raises(StoreConflict):
        await storage.dead_letters.delete(one, stored.etag)


async def test_pages_of_a_code_hold_each_of_its_letters_once_and_no_other(storage):
    code = f"test.{fresh()}"
    kinds = list(SubjectKind)
    wanted = [letter(code=code, kind=kinds[n % 3]) for n in range(11)]
    for one in [*wanted, letter(code="test.other"), letter(code=code + "x")]:
        await storage.dead_letters.put(one)
    letters, sizes, token = [], [], None
    while True:
        page = await storage.dead_letters.page(code=code, limit=4, token=token)
        letters += page.letters
        sizes.append(len(page.letters))
        if (token := page.token) is None:
            break
    assert sorted(one.subject for one in letters) == sorted(one.subject for one in wanted)
    assert max(sizes) <= 4


async def test_a_page_of_all_holds_letters_of_every_code(storage):
    codes = {f"test.{fresh()}" for _ in range(2)}
    for code in codes:
        await storage.dead_letters.put(letter(code=code))
    codes_seen, token = set(), None
    while True:
        page = await storage.dead_letters.page(limit=100, token=token)
        codes_seen |= {one.code for one in page.letters}
        if (token := page.token) is None:
            break
    assert codes <= codes_seen


@pytest.mark.parametrize(
    "token", ["x", "!!", "bnVsbA==", "eyJhIjogMX0=", "eyJQYXJ0aXRpb25LZXkiOiAieCIsICJSb3dLZXkiOiAieSJ9"]
)
async def test_an_invented_token_gives_some_page_and_no_error(storage, token):
    await storage.dead_letters.put(letter())
    await storage.dead_letters.page(limit=5, token=token)


async def test_a_code_with_no_letter_has_one_empty_page(storage):
    page = await storage.dead_letters.page(code=f"it's {fresh()}")
    assert (list(page.letters), page.token) == ([], None)


def entry(minutes, **fields):
    usual = {"who": "Jane", "action": "dead-letters.discard", "subject": f"object {fresh()}", "code": "a.b", "why": "x"}
    return AuditEntry(at=NOW + timedelta(days=400_000, minutes=minutes), **{**usual, **fields})


async def test_the_newest_entries_of_the_audit_trail_come_first(storage):
    entries = [entry(minute) for minute in (2, 1, 3)]
    for written in entries:
        await storage.audit.add(written)
    newest = await storage.audit.newest(3)
    assert list(newest) == [entries[2], entries[0], entries[1]]
    assert len(await storage.audit.newest(2)) == 2


async def test_an_entry_that_is_added_again_is_there_once(storage):
    one = entry(100)
    await storage.audit.add(one)
    await storage.audit.add(replace(one, why="said better"))
    assert list(await storage.audit.newest(2)).count(replace(one, why="said better")) == 1
    assert one not in await storage.audit.newest(2)


async def test_a_message_that_no_queue_takes_is_refused_before_it_is_sent(storage):
    with pytest.raises(MessageTooLarge):
        await storage.object_queue.send("é" * 30_000)
    await storage.object_queue.send("x" * 48 * 1024)


def result_event(**fields):
    usual = {"id": fresh(), "type": "org.dicom-fhir-sync.study.synced.v1", "subject": "studies/x", "at": NOW}
    return ResultEvent(**{**usual, "data": {"study": "x", "instances": 3, "é": None}, **fields})


async def test_an_event_in_the_outbox_comes_back_as_it_was_put_once_and_goes(storage):
    one, other = result_event(), result_event()
    for event in (one, one, other):
        await storage.outbox.put(event)
    waiting = list(await storage.outbox.waiting(1000))
    assert waiting.count(one) == 1
    assert other in waiting
    assert len(await storage.outbox.waiting(1)) == 1
    for _ in range(2):
        await storage.outbox.delete(one)
    assert one not in await storage.outbox.waiting(1000)

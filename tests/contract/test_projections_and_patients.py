"""What we last wrote, what studies say of their patients, and permanent failures."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sync.errors import StoreConflict
from sync.model import DeadLetter, Finding, PatientRow, Projection, Stored, SubjectKind
from tests.contract.storage import NOW, fresh, fresh_study


def projection(study=None, **fields):
    return Projection(study=study or fresh_study(), fhir_id="is-1", **fields)


async def test_a_projection_comes_back_as_it_was_written(storage):
    full = projection(
        adopted=True,
        version="7",
        content_hash="ab",
        foreign=True,
        elements=frozenset({"status", "series"}),
        taken_over=True,
        begun=True,
        patient_id="pt-1",
        patient_key="k1",
        patient_hash="cd",
        patient_keys=frozenset({"k1", "k2"}),
        derived={"Observation/ob-1": "aa", "DiagnosticReport/dr-1": ""},
        shared_hashes=frozenset({"ef"}),
        series=2,
        instances=3000,
        findings=(Finding(keyword="StudyDate", code="date.impossible", action="omitted"),),
        error="fhir.rejected",
        finished=True,
    )
    etag = await storage.projections.write(full, None)
    assert await storage.projections.read(full.study) == Stored(full, etag)


async def test_a_bare_projection_comes_back_too_and_an_unknown_one_is_none(storage):
    bare = projection()
    await storage.projections.write(bare, None)
    assert (await storage.projections.read(bare.study)).value == bare
    assert await storage.projections.read(fresh_study()) is None


async def test_writing_anew_is_a_conflict_when_another_writer_was_first(storage):
    row = projection()
    await storage.projections.write(row, None)
    with pytest.raises(StoreConflict):
        await storage.projections.write(row, None)


async def test_a_replaced_projection_loses_what_the_new_one_lacks(storage):
    full = projection(version="1", error="x", elements=frozenset({"status"}))
    etag = await storage.projections.write(full, None)
    bare = projection(full.study)
    newer = await storage.projections.write(bare, etag)
    assert newer != etag
    assert await storage.projections.read(full.study) == Stored(bare, newer)


async def test_an_equal_projection_gets_another_etag(storage):
    row = projection()
    etag = await storage.projections.write(row, None)
    assert await storage.projections.write(row, etag) != etag


async def test_an_old_etag_is_a_conflict_and_so_is_a_missing_row(storage):
    row = projection()
    etag = await storage.projections.write(row, None)
    await storage.projections.write(row, etag)
    for stale in (row, projection()):
        with pytest.raises(StoreConflict):
            await storage.projections.write(stale, etag)


async def test_all_projections_are_listed(storage):
    rows = [projection() for _ in range(3)]
    for row in rows:
        await storage.projections.write(row, None)
    listed = [record async for record in storage.projections.all()]
    assert [listed.count(row) for row in rows] == [1, 1, 1]


def patient(key, study=None, **attributes):
    said = {"PatientName": ["Müller^Erika"], **attributes}
    return PatientRow(patient_key=key, study=study or fresh_study(), study_date="2026-01-02", attributes=said)


async def test_rows_of_one_patient_are_read_together_and_apart_from_others(storage):
    key = fresh()
    rows = [patient(key), patient(key)]
    for row in [*rows, patient(fresh())]:
        await storage.patients.upsert(row)
    assert sorted(await storage.patients.read(key), key=lambda row: row.study) == sorted(
        rows, key=lambda row: row.study
    )
    assert list(await storage.patients.read(fresh())) == []


async def test_patients_of_a_range_of_keys_come_by_key_with_all_their_rows(storage):
    start = fresh()
    keys = [f"{start}{digits}" for digits in ("1", "2", "3", "4")]
    rows = [patient(key) for key in keys for _ in range(2)]
    for row in reversed(rows):
        await storage.patients.upsert(row)
    patients = [some async for some in storage.patients.between(keys[1], keys[3])]
    assert [[row.patient_key for row in some] for some in patients] == [[key] * 2 for key in keys[1:3]]
    by_study = [sorted(some, key=lambda row: row.study) for some in (*patients, rows[2:4], rows[4:6])]
    assert by_study[:2] == by_study[2:]
    assert [some async for some in storage.patients.between(keys[2], keys[2])] == []


async def test_a_study_has_one_say_about_its_patient(storage):
    key, study = fresh(), fresh_study()
    await storage.patients.upsert(patient(key, study))
    await storage.patients.upsert(newer := patient(key, study, PatientSex=["F"]))
    assert list(await storage.patients.read(key)) == [newer]


async def test_deleting_a_patient_row_may_be_repeated(storage):
    key = fresh()
    row, other = patient(key), patient(key)
    await storage.patients.upsert(row)
    await storage.patients.upsert(other)
    for _ in range(2):
        await storage.patients.delete(key, row.study)
    assert list(await storage.patients.read(key)) == [other]


def letter(subject, **fields):
    usual = {"code": "header.not_dicom", "detail": "no prefix", "hint": "Replace it.", "first_at": NOW, "last_at": NOW}
    return DeadLetter(kind=SubjectKind.OBJECT, subject=subject, **{**usual, **fields})


async def about(storage, subject):
    return [stored async for stored in storage.dead_letters.all() if stored.subject == subject]


@pytest.mark.parametrize(
    "subject", [f"{fresh()}.{fresh()}", fresh(), "a/b#c?d\\e ü" + fresh()], ids=["key", "hash", "odd"]
)
async def test_a_dead_letter_comes_back_as_it_was_put(storage, subject):
    await storage.dead_letters.put(letter(subject))
    assert await about(storage, subject) == [letter(subject)]


async def test_a_repeated_failure_keeps_its_first_time_and_adds_its_attempts(storage):
    subject, later = fresh(), NOW + timedelta(hours=1)
    await storage.dead_letters.put(letter(subject, attempts=2))
    await storage.dead_letters.put(letter(subject, code="header.limit", first_at=later, last_at=later, attempts=3))
    assert await about(storage, subject) == [letter(subject, code="header.limit", last_at=later, attempts=5)]


async def test_subjects_of_different_kinds_are_kept_apart(storage):
    subject = fresh()
    of_study = replace(letter(subject), kind=SubjectKind.STUDY)
    await storage.dead_letters.put(letter(subject))
    await storage.dead_letters.put(of_study)
    await storage.dead_letters.clear(SubjectKind.OBJECT, subject)
    assert await about(storage, subject) == [of_study]


async def test_clearing_may_be_repeated_and_what_comes_after_starts_anew(storage):
    subject = fresh()
    await storage.dead_letters.put(letter(subject, attempts=4))
    for _ in range(2):
        await storage.dead_letters.clear(SubjectKind.OBJECT, subject)
    assert await about(storage, subject) == []
    await storage.dead_letters.put(letter(subject))
    assert await about(storage, subject) == [letter(subject)]


async def test_projections_are_walked_by_study_key_each_once(storage):
    rows = [projection() for _ in range(7)]
    for row in rows:
        await storage.projections.write(row, None)
    keys, key = [], ""
    while chunk := await storage.projections.after(key, 3):
        assert len(chunk) <= 3
        keys += [record.study.key for record in chunk]
        key = keys[-1]
    assert keys == sorted(set(keys))
    assert {row.study.key for row in rows} <= set(keys)


async def test_a_projection_is_found_by_its_study_key_alone(storage):
    row = projection()
    await storage.projections.write(row, None)
    assert await storage.projections.find(row.study.key) == row
    assert await storage.projections.find(fresh_study().key) is None

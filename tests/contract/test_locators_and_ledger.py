"""Rows of objects: locators are fenced by their ETags, ledger rows are not and need not be."""

import asyncio
import os
from dataclasses import replace

import pytest

from sync.errors import StoreConflict
from sync.model import Finding, InstanceRecord, LedgerRow, Locator, ObjectRef, Stored
from tests.contract.storage import fresh, fresh_study, ledger_row, locator


async def test_a_locator_comes_back_as_it_was_written(storage):
    full = locator(
        f"Müller, Erika/{fresh()}/a b%20+#?.dcm",
        etag="0x8D",
        study=fresh_study(),
        sop_instance_uid="2.25.3",
        history=frozenset({fresh_study(), fresh_study()}),
        settled=True,
        has_dead_letter=True,
    )
    etag = await storage.locators.insert(full)
    stored = await storage.locators.read(full.object)
    assert (stored.value, stored.etag) == (full, etag)
    assert await storage.locators.find(full.object.key) == stored


async def test_an_unknown_object_has_no_locator(storage):
    ref = ObjectRef(account="account", container="dicom", name=fresh())
    assert await storage.locators.read(ref) is None
    assert await storage.locators.find(ref.key) is None


async def test_a_second_insert_is_a_conflict(storage):
    row = locator()
    await storage.locators.insert(row)
    with pytest.raises(StoreConflict):
        await storage.locators.insert(row)


async def test_a_replace_with_the_right_etag_wins_and_changes_it(storage):
    first = locator()
    etag = await storage.locators.insert(first)
    second = locator(first.object.name, settled=True)
    newer = await storage.locators.replace(second, etag)
    assert newer != etag
    assert await storage.locators.read(first.object) == Stored(second, newer)


async def test_an_equal_write_changes_the_etag_too(storage):
    row = locator()
    etag = await storage.locators.insert(row)
    assert await storage.locators.replace(row, etag) != etag


async def test_a_replace_with_an_old_etag_is_a_conflict_and_writes_nothing(storage):
    row = locator()
    old = await storage.locators.insert(row)
    await storage.locators.replace(row, old)
    with pytest.raises(StoreConflict):
        await storage.locators.replace(locator(row.object.name, settled=True), old)
    assert not (await storage.locators.read(row.object)).value.settled


async def test_replacing_what_is_not_there_is_a_conflict(storage):
    row = locator()
    etag = await storage.locators.insert(row)
    with pytest.raises(StoreConflict):
        await storage.locators.replace(locator(), etag)


async def test_a_ledger_row_comes_back_as_it_was_written(storage):
    study = fresh_study()
    record = InstanceRecord(
        study=study,
        series_instance_uid="2.25.1",
        sop_instance_uid="2.25.2",
        attributes={"PatientName": ["Yamada^Tarou=山田^太郎"], "A": [], "B": [1, {"C": ["\ud800"]}]},
        findings=(Finding(keyword="StudyDate", code="date.impossible", action="omitted"),),
    )
    row = LedgerRow(object_key=ledger_row(study).object_key, record=record, order="2026")
    await storage.ledger.upsert(row)
    assert list(await storage.ledger.read(study)) == [row]


async def test_an_upsert_replaces_the_row_of_the_same_object(storage):
    study = fresh_study()
    await storage.ledger.upsert(ledger_row(study, "a", {"Modality": ["CT"], "StudyID": ["1"]}))
    await storage.ledger.upsert(newer := ledger_row(study, "a", {"Modality": ["MR"]}))
    assert list(await storage.ledger.read(study)) == [newer]
    assert list(await storage.ledger.orders(study, 2)) == [newer.order]


async def test_of_a_large_study_no_more_orders_are_read_than_asked_for(storage):
    study = fresh_study()
    for name in "abc":
        await storage.ledger.upsert(ledger_row(study, name))
    assert [len(await storage.ledger.orders(study, most)) for most in (1, 2, 3, 4)] == [1, 2, 3, 3]


async def test_a_shorter_row_leaves_nothing_of_a_longer_one(storage):
    study = fresh_study()
    await storage.ledger.upsert(ledger_row(study, "a", {"A": [os.urandom(100_000).hex()]}))
    await storage.ledger.upsert(short := ledger_row(study, "a"))
    assert list(await storage.ledger.read(study)) == [short]


async def test_deleting_a_ledger_row_leaves_the_others_and_may_be_repeated(storage):
    study = fresh_study()
    kept, gone = ledger_row(study), ledger_row(study)
    await storage.ledger.upsert(kept)
    await storage.ledger.upsert(gone)
    for _ in range(2):
        await storage.ledger.delete(study, gone.object_key)
    assert list(await storage.ledger.read(study)) == [kept]


async def test_a_study_without_rows_reads_as_empty(storage):
    study = fresh_study()
    await storage.ledger.delete(study, ledger_row(study).object_key)
    assert list(await storage.ledger.read(study)) == []


async def test_studies_are_kept_apart_also_by_data_partition(storage):
    study = fresh_study()
    elsewhere = type(study)(study_instance_uid=study.study_instance_uid, partition="b")
    await storage.ledger.upsert(ledger_row(study, "a"))
    assert list(await storage.ledger.read(elsewhere)) == []


async def test_attributes_of_half_a_mebibyte_that_cannot_be_compressed_are_kept(storage):
    study = fresh_study()
    text = os.urandom(250 * 1024).hex()  # hexadecimal digits: 4 bits of noise in each of 512,000 characters
    noise = "".join(chr(0x4E00 + int(text[i : i + 3], 16)) for i in range(0, len(text) - 3, 3))
    await storage.ledger.upsert(row := ledger_row(study, attributes={"A": [text], "B": [noise]}))
    assert list(await storage.ledger.read(study)) == [row]


async def test_three_thousand_rows_are_read_back(storage):
    study = fresh_study()
    rows = [ledger_row(study, f"{i:04}") for i in range(3000)]
    await asyncio.gather(*(storage.ledger.upsert(row) for row in rows))
    rows_read = await storage.ledger.read(study)
    assert sorted(rows_read, key=lambda row: row.object_key) == rows


async def test_studies_between_two_keys_come_with_all_their_rows_by_key(storage):
    studies = sorted((fresh_study() for _ in range(4)), key=lambda study: study.key)
    rows = {
        study.key: [ledger_row(study, f"{i:04}") for i in range(count)]
        for study, count in zip(studies, (1, 2, 1100, 3), strict=True)
    }
    await asyncio.gather(*(storage.ledger.upsert(row) for some in rows.values() for row in some))
    first, last = studies[1].key, studies[2].key
    came = [some async for some in storage.ledger.between(first, last)]
    keys = [some[0].record.study.key for some in came]
    assert keys == sorted(set(keys))
    assert all(first <= row.record.study.key <= last for some in came for row in some)
    for some in came:
        if (key := some[0].record.study.key) in rows:
            assert sorted(some, key=lambda row: row.object_key) == sorted(rows.pop(key), key=lambda row: row.object_key)
    assert set(rows) == {studies[0].key, studies[3].key}
    assert [some async for some in storage.ledger.between(last + "0", last + "1")] == []


async def test_the_rows_of_a_folder_are_listed_and_no_others(storage):
    account, inside = fresh(), ["instances/1", "instances/2", "instances/3"]
    others = ["instances/deeper/4", "instances2/5", "6"]
    for name in (*inside, *others):
        ref = ObjectRef(account=account, container="", name=name)
        await storage.locators.insert(Locator(object=ref, etag=None, sequence=2**40, order="2026"))
    rows = [row async for row in storage.locators.folder(account, "", "instances")]
    assert sorted(row.object.name for row in rows) == inside
    assert {(row.sequence, row.order) for row in rows} == {(2**40, "2026")}


async def test_the_rows_below_a_folder_are_listed_at_any_depth_and_no_others(storage):
    root = fresh()
    inside = [f"{root}/a'b.dcm", f"{root}/deep/er/b.dcm", f"{root}/\u00e4.dcm", f"{root}/0"]
    for name in (*inside, root, f"{root}0", f"{root}.dcm", f"{root}2/c.dcm"):
        await storage.locators.insert(locator(name))
    of = locator(inside[0]).object
    rows = [row async for row in storage.locators.below(of.account, of.container, root)]
    assert sorted(row.object.name for row in rows) == sorted(inside)
    assert [row async for row in storage.locators.below(of.account, "others", root)] == []


async def test_rows_are_found_by_study_series_and_instance(storage):
    study, uid = fresh_study(), fresh_study().study_instance_uid
    elsewhere = type(study)(study_instance_uid=study.study_instance_uid, partition="b")
    row = ledger_row(study)
    row = replace(row, record=replace(row.record, series_instance_uid=f"{uid}.1", sop_instance_uid=f"{uid}.2"))
    other = ledger_row(elsewhere)
    await storage.ledger.upsert(row)
    await storage.ledger.upsert(other)

    async def in_ledger(uid, within=None):
        return {entry.object_key async for entry in storage.ledger.entries(uid, within)}

    assert await in_ledger(study.study_instance_uid) == {row.object_key, other.object_key}
    assert await in_ledger(study.study_instance_uid, study) == {row.object_key}
    assert (
        await in_ledger(f"{uid}.1")
        == await in_ledger(f"{uid}.2")
        == await in_ledger(f"{uid}.2", study)
        == {row.object_key}
    )
    assert await in_ledger(f"{uid}.2", elsewhere) == await in_ledger(f"{uid}.3") == set()


async def test_the_etags_of_a_folder_are_read_by_its_partitions(storage):
    folder = fresh()
    rows = [locator(f"{folder}/{number}", etag=f"0x{number}", settled=number != 3) for number in range(12)]
    rows.append(locator(f"{folder}/gone", settled=True))
    await asyncio.gather(*(storage.locators.insert(row) for row in rows))
    partitions = {row.object.key.partition for row in rows}
    etags, whole = {}, []
    for partition in partitions:
        etags |= await storage.locators.etags(partition, 100)
        whole += await storage.locators.rows(partition, 100)
    assert {stored.value.object.key: stored.value for stored in whole} == {row.object.key: row for row in rows}
    for stored in whole:
        assert stored == await storage.locators.read(stored.value.object)
    changed = replace(whole[0].value, etag="another")
    etag = await storage.locators.replace(changed, whole[0].etag)
    assert await storage.locators.read(changed.object) == Stored(changed, etag)
    with pytest.raises(StoreConflict):
        await storage.locators.replace(changed, whole[0].etag)
    assert etags == {row.object.key.row: row.etag if row.settled else None for row in rows}


async def test_a_partition_with_more_rows_than_asked_for_tells_nothing(storage):
    folder = fresh()
    rows = [locator(f"{folder}/{number}") for number in range(12)]
    await asyncio.gather(*(storage.locators.insert(row) for row in rows))
    partition = rows[0].object.key.partition
    held = sum(row.object.key.partition == partition for row in rows)
    assert len(await storage.locators.etags(partition, held)) == held
    assert await storage.locators.etags(partition, held - 1) is None
    assert len(await storage.locators.rows(partition, held)) == held
    assert await storage.locators.rows(partition, held - 1) is None

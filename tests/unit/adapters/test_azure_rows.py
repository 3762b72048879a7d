"""Values become rows and come back the same; what the service would refuse is refused here."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.adapters.azure.tables import (
    audit,
    cursors,
    dead_letters,
    dirty,
    drifts,
    ledger,
    locators,
    patients,
    projections,
    rows,
)
from sync.errors import PermanentError, RowTooLarge
from sync.model import (
    AuditEntry,
    Cursor,
    DeadLetter,
    DirtyStudy,
    Drift,
    DriftKind,
    Finding,
    InstanceRecord,
    LedgerRow,
    Locator,
    ObjectKey,
    ObjectRef,
    PatientRow,
    Projection,
    StudyRef,
    SubjectKind,
)
from sync.model.timestamps import aware_time
from tests.property import examples

ANY_TEXT = st.text(st.characters(codec=None), max_size=30)
"""Lone surrogates included: decoders leave them in values."""

TEXT = st.text(max_size=30)
MOMENTS = st.datetimes(timezones=st.just(UTC))
STUDIES = st.builds(StudyRef, study_instance_uid=TEXT, partition=TEXT)
REFS = st.builds(ObjectRef, account=TEXT, container=TEXT, name=TEXT)
FINDINGS = st.lists(st.builds(Finding, keyword=TEXT, code=TEXT, action=TEXT), max_size=3).map(tuple)
LEAVES = st.lists(st.one_of(ANY_TEXT, st.integers()), max_size=3)
ATTRIBUTES = st.recursive(
    st.dictionaries(TEXT, LEAVES, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.lists(inner, max_size=2), max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(0, 2**31 - 1)
MAYBE = st.none() | TEXT
KEYS = st.builds(ObjectKey, *[st.from_regex(r"[0-9a-f]{1,20}(-[01])?", fullmatch=True)] * 2)

LOCATORS = st.builds(
    Locator,
    object=REFS,
    etag=MAYBE,
    study=st.none() | STUDIES,
    sop_instance_uid=MAYBE,
    history=st.frozensets(STUDIES, max_size=4),
    settled=st.booleans(),
    has_dead_letter=st.booleans(),
)
RECORDS = st.builds(
    InstanceRecord,
    study=STUDIES,
    series_instance_uid=TEXT,
    sop_instance_uid=TEXT,
    attributes=ATTRIBUTES,
    findings=FINDINGS,
)
LEDGER_ROWS = st.builds(LedgerRow, object_key=KEYS, record=RECORDS, order=TEXT, source=st.none() | REFS)
DIRTY = st.builds(
    DirtyStudy,
    study=STUDIES,
    first_marked=MOMENTS,
    last_marked=MOMENTS,
    attempts=NUMBERS,
    not_before=st.none() | MOMENTS,
    bypass_cache=st.booleans(),
    comparison=st.booleans(),
    longest_gap=st.none() | st.floats(0, 1e9),
)
PROJECTIONS = st.builds(
    Projection,
    study=STUDIES,
    fhir_id=TEXT,
    adopted=st.booleans(),
    version=MAYBE,
    content_hash=MAYBE,
    foreign=st.booleans(),
    elements=st.frozensets(TEXT, max_size=4),
    patient_id=MAYBE,
    patient_hash=MAYBE,
    patient_keys=st.frozensets(TEXT, max_size=4),
    derived=st.dictionaries(TEXT, TEXT, max_size=3),
    shared_hashes=st.frozensets(TEXT, max_size=4),
    series=NUMBERS,
    instances=NUMBERS,
    findings=FINDINGS,
    error=MAYBE,
    finished=st.booleans(),
)
PATIENTS = st.builds(PatientRow, patient_key=TEXT, study=STUDIES, study_date=TEXT, attributes=ATTRIBUTES)
LETTERS = st.builds(
    DeadLetter,
    kind=st.sampled_from(SubjectKind),
    subject=TEXT,
    code=TEXT,
    detail=TEXT,
    hint=TEXT,
    first_at=MOMENTS,
    last_at=MOMENTS,
    attempts=NUMBERS,
)

CURSORS = st.builds(
    Cursor,
    name=TEXT,
    position=st.dictionaries(TEXT, TEXT, max_size=2),
    holder=TEXT,
    held_until=st.none() | MOMENTS,
    advanced_at=st.none() | MOMENTS,
)
DRIFTS = st.builds(
    Drift,
    kind=st.sampled_from(DriftKind),
    subject=TEXT,
    resource=TEXT,
    detail=TEXT,
    kept=st.booleans(),
    first_at=st.none() | MOMENTS,
    last_at=st.none() | MOMENTS,
    found_in=TEXT,
)
AUDIT = st.builds(AuditEntry, at=MOMENTS, who=TEXT, action=TEXT, subject=TEXT, code=TEXT, why=TEXT)

KINDS = [
    pytest.param(LOCATORS, locators.locator_row, locators.locator_from, id="locator"),
    pytest.param(LEDGER_ROWS, ledger.ledger_row, ledger.ledger_from, id="ledger"),
    pytest.param(DIRTY, dirty.dirty_row, dirty.dirty_from, id="dirty"),
    pytest.param(PROJECTIONS, projections.projection_row, projections.projection_from, id="projection"),
    pytest.param(PATIENTS, patients.patient_row, patients.patient_from, id="patient"),
    pytest.param(LETTERS, dead_letters.dead_letter_row, dead_letters.dead_letter_from, id="dead letter"),
    pytest.param(CURSORS, cursors.cursor_row, cursors.cursor_from, id="cursor"),
    pytest.param(DRIFTS, drifts.drift_row, drifts.drift_from, id="drift"),
    pytest.param(AUDIT, audit.audit_row, audit.audit_from, id="audit"),
]

STUDY = StudyRef(study_instance_uid="2.25.1")
AT = datetime(2026, 1, 1, tzinfo=UTC)
FORBIDDEN = frozenset("/\\#?%+")


def is_time(cell):
    return isinstance(cell, str) and aware_time(cell) is not None


def service_bytes(entity):
    """As Azure says a row is counted ("Understanding the Table service data model")."""
    total = 4
    for name, value in entity.items():
        total += 8 + 2 * len(name)
        if isinstance(value, str):
            total += len(value.encode("utf-16-le", "surrogatepass")) + 4
        else:
            total += len(value) + 4 if isinstance(value, bytes) else 8
    return total


@pytest.mark.parametrize(("values", "to_row", "from_row"), KINDS)
@given(data=st.data())
@settings(max_examples=examples(40))
def test_a_row_gives_back_the_value(values, to_row, from_row, data):
    value = data.draw(values)
    assert from_row(to_row(value)) == value


@pytest.mark.parametrize(("values", "to_row", "from_row"), KINDS)
@given(data=st.data())
@settings(max_examples=examples(20))
def test_a_time_whose_offset_was_edited_away_is_utc(values, to_row, from_row, data):
    value = data.draw(values)
    row = {name: cell.removesuffix("+00:00") if is_time(cell) else cell for name, cell in to_row(value).items()}
    assert from_row(row) == value


@pytest.mark.parametrize(("values", "to_row", "from_row"), KINDS)
@given(data=st.data())
@settings(max_examples=examples(40))
def test_a_row_is_one_that_the_service_takes(values, to_row, from_row, data):
    entity = to_row(data.draw(values))
    for key in (entity["PartitionKey"], entity["RowKey"]):
        assert key
        assert len(key) <= 512
        assert key.isprintable()
        assert not set(key) & FORBIDDEN
    assert len(entity) <= 252
    assert all(isinstance(value, str | int | float | bool | bytes) for value in entity.values())
    assert rows.entity_bytes(entity) >= service_bytes(entity)


@given(st.text(max_size=300))
def test_any_text_becomes_a_key(text):
    key = rows.key_of(text)
    assert key
    assert not set(key) & FORBIDDEN
    assert rows.key_of(text) == key


def test_texts_that_can_be_keys_are_kept_as_they_are():
    assert rows.key_of("0a1b-2.c_d") == "0a1b-2.c_d"
    assert rows.key_of("a/b") != rows.key_of("a?b")


def ledger_of(attributes):
    record = InstanceRecord(study=STUDY, series_instance_uid="1", sop_instance_uid="2", attributes=attributes)
    return LedgerRow(object_key=ObjectKey("a", "b"), record=record, order="")


def test_large_attributes_are_cut_into_properties_of_less_than_64_kib():
    row = ledger_of({"A": [os.urandom(300_000).hex()]})
    entity = ledger.ledger_row(row)
    pieces = [value for value in entity.values() if isinstance(value, bytes)]
    assert len(pieces) > 4
    assert max(map(len, pieces)) < 64 * 1024
    assert ledger.ledger_from(entity) == row


@pytest.mark.parametrize(
    "make",
    [
        lambda text: ledger.ledger_row(ledger_of({"A": [text]})),
        lambda text: patients.patient_row(
            PatientRow(patient_key="k", study=STUDY, study_date="", attributes={"A": [text]}),
        ),
        lambda text: projections.projection_row(Projection(study=STUDY, fhir_id="i", elements=frozenset({text}))),
        lambda text: locators.locator_row(
            Locator(object=ObjectRef(account="a", container="c", name="n"), etag=text),
        ),
    ],
    ids=["ledger", "patient", "projection", "locator"],
)
def test_a_row_of_more_than_a_mebibyte_is_refused_without_its_content(make):
    with pytest.raises(RowTooLarge) as caught:
        make("Zztestperson" + os.urandom(1_200_000).hex())
    assert isinstance(caught.value, PermanentError)
    assert "Zztestperson" not in str(caught.value)


def test_the_limit_itself_is_still_accepted():
    def entity(size):
        return {"PartitionKey": "p", "RowKey": "r", "data": bytes(size)}

    room = rows.MAX_ENTITY_BYTES - rows.entity_bytes(entity(0))
    assert rows.check_size(entity(room)) == entity(room)
    with pytest.raises(RowTooLarge):
        rows.check_size(entity(room + 1))
    assert rows.MAX_ENTITY_BYTES < 1024 * 1024


def test_dirty_studies_spread_over_the_shards_that_are_listed():
    shards = {dirty.dirty_shard(StudyRef(study_instance_uid=f"2.25.{i}")) for i in range(500)}
    assert shards == {f"{i:02d}" for i in range(dirty.DIRTY_SHARDS)}


def test_times_keep_their_microseconds():
    study = DirtyStudy(study=STUDY, first_marked=AT.replace(microsecond=1), last_marked=AT)
    assert dirty.dirty_from(dirty.dirty_row(study)).first_marked.microsecond == 1

"""Whatever order events come in, however often: the same bytes in FHIR, and a second run writes nothing."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.delivery.handlers import handle_object_message, handle_study_message
from sync.events import study_message
from sync.mapping.resource import canonical
from tests.property import examples
from tests.worlds import SOURCES, UNREADABLE, MemoryWorld, dicom, events

SCANNER = {"Manufacturer": "Maker", "ManufacturerModelName": "Model", "DeviceSerialNumber": "47"}
CONTENTS = [
    dicom(StationName="CT1", **SCANNER),
    dicom(sop="2.25.101", PatientName="Doe^J", PatientSex="F"),
    dicom(sop="2.25.100", StudyDescription="another copy"),
    dicom(sop="2.25.102", PatientID="P2", AccessionNumber="A1"),
    dicom(study="2.25.2", sop="2.25.200", StudyDate="20260303", PatientName="Roe^Jane", PatientIdentityRemoved="YES"),
    dicom(study="2.25.2", sop="2.25.201", PatientID="P2", PatientSex="M", StationName="CT2", **SCANNER),
    dicom(study="2.25.3", sop="2.25.300", PatientID=None),
    UNREADABLE,
    None,
]
NAMES = ["a", "b", "c", "d"]
HISTORIES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(range(len(CONTENTS)))), min_size=1, max_size=8)


def happen(w, history):
    """Let it all happen at the store; return one message each, before any of them is delivered."""
    messages = []
    for name, content in history:
        data = CONTENTS[content]
        messages.append(events(w.delete(name) if data is None else w.put(name, data)))
    return messages


async def deliver(w, messages, pauses):
    """Deliver in this order, projecting what is due wherever there is a pause."""
    for position, message in enumerate(messages):
        await handle_object_message(message, SOURCES, w.services)
        if position in pauses:
            await w.settle()
    await w.settle()


def end(w):
    """Everything that must not depend on the order; Endpoint and Devices stay for all studies there ever were."""
    named = {
        performer["actor"].get("reference") for one in w.server.resources("ImagingStudy") for performer in _made_by(one)
    }
    return {
        "fhir": [_said(resource) for kind in ("ImagingStudy", "Patient") for resource in w.server.resources(kind)],
        "devices": [_said(one) for one in w.server.resources("Device") if f"Device/{one['id']}" in named],
        "dead letters": w.dead_letters(),
        "outstanding": w.outstanding(),
        "patient rows": sorted((row.patient_key, row.study) for row in w.store.patients.table.values()),
        "findings": {p.study: _own_findings(p) for p in w.store.projections.table.values() if p.instances},
    }


def _made_by(study):
    return [performer for series in study.get("series", []) for performer in series.get("performer", [])]


def _said(resource):
    meta = {name: value for name, value in resource["meta"].items() if name != "versionId"}
    return canonical({**resource, "meta": meta})


def _own_findings(projection):
    """Return what the study's own instances give; what its patient's other studies give, the last to look has noted."""
    return set(projection.findings) - set(projection.patient_findings)


async def clean_end(w):
    """Where a new sync gets that sees only what is there now, by name."""
    clean = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    clean.store.objects = w.store.objects
    clean.services = clean.process(dicomweb_url="https://pacs.example/dicom-web")
    await clean.replay(redelivered=False)
    return end(clean)


@settings(max_examples=examples(150), deadline=None)
@given(history=HISTORIES, data=st.data())
def test_any_order_and_any_repeats_end_alike_and_a_second_run_writes_nothing(history, data):
    asyncio.run(_check(history, data))


async def _check(history, data):
    w = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    messages = happen(w, history)
    repeats = data.draw(st.lists(st.sampled_from(messages), max_size=4), label="repeats")
    order = data.draw(st.permutations(messages + repeats), label="order")
    pauses = data.draw(st.sets(st.sampled_from(range(len(order)))), label="pauses")
    await deliver(w, order, pauses)
    reached = end(w)
    assert reached == await clean_end(w)
    versions, transactions = w.versions(), w.fhir.calls["transact"]
    await deliver(w, order, pauses)
    await w.replay()
    await _redeliver_everything(w)
    assert (w.versions(), w.fhir.calls["transact"]) == (versions, transactions)
    assert end(w) == reached


async def _redeliver_everything(w):
    w.services = w.process(dicomweb_url="https://pacs.example/dicom-web")
    for projection in w.store.projections.table.values():
        await handle_study_message(study_message(projection.study), w.services, attempt=2)
    await w.settle()


@settings(max_examples=examples(100), deadline=None)
@given(history=HISTORIES, data=st.data())
def test_events_that_come_as_things_happen_end_alike(history, data):
    asyncio.run(_check_live(history, data))


async def _check_live(history, data):
    w = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    for step in history:
        (message,) = happen(w, [step])
        for attempt in range(1, 1 + data.draw(st.integers(1, 2), label="deliveries")):
            await handle_object_message(message, SOURCES, w.services, attempt=attempt)
        if data.draw(st.booleans(), label="pause"):
            await w.settle()
    await w.settle()
    assert end(w) == await clean_end(w)

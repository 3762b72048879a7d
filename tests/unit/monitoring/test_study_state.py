"""What an operator sees of one study."""

import json
from dataclasses import replace
from datetime import timedelta

from sync.errors import FhirRejected
from sync.model import Finding, StudyRef
from sync.monitoring.study_state import FindingCounts, grouped, study_state
from tests.worlds import STUDY, MemoryWorld


async def told(w, study=STUDY):
    return await study_state(study, w.services)


async def test_a_study_that_was_never_seen_is_unknown():
    assert await told(MemoryWorld()) is None
    w = MemoryWorld()
    await w.arrive("a")
    assert await told(w, StudyRef(study_instance_uid=STUDY.study_instance_uid, partition="other")) is None


async def test_a_study_on_its_way_says_since_when_it_waits():
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    state = await told(w)
    assert (state["state"], state["fhir"]) == ("dirty", None)
    now = w.services.clock.now()
    due = now + timedelta(seconds=w.services.settings.quiet_period)
    assert state["marks"] == {
        "first": now.isoformat(),
        "last": now.isoformat(),
        "due": due.isoformat(),
        "attempts": 0,
        "not_before": None,
        "failing_since": None,
        "failure": "",
        "hint": "",
    }


async def test_a_synced_study_has_its_reference_its_counts_and_its_findings():
    w = MemoryWorld()
    await w.arrive("a", StudyDate="20240231", PatientID="P1")
    state = await told(w)
    assert (state["state"], state["counts"]) == ("synced", {"series": 1, "instances": 1})
    assert state["fhir"]["reference"] == f"ImagingStudy/is-{STUDY.key}"
    assert state["fhir"]["url"].endswith(state["fhir"]["reference"])
    assert state["fhir"]["patient"].startswith("Patient/pt-")
    assert state["findings"]["by_code"]["date.impossible"] == {"count": 1, "attributes": {"StudyDate": ["omitted"]}}
    assert (state["marks"], state["dead_letter"]) == (None, None)


async def test_a_dead_lettered_study_shows_its_dead_letter():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    state = await told(w)
    assert (state["state"], state["fhir"]["reference"]) == ("dead_lettered", None)
    assert state["dead_letter"]["code"] == "fhir.rejected"
    assert state["dead_letter"]["hint"]
    await w.arrive("b", sop="2.25.101")
    assert (await told(w))["state"] == "synced"


async def test_a_removed_study_is_remembered_as_removed():
    w = MemoryWorld()
    await w.arrive("a")
    await w.go("a")
    state = await told(w)
    assert (state["state"], state["fhir"]["reference"], state["counts"]["instances"]) == ("removed", None, 0)


async def test_nothing_of_the_patient_is_told():
    w = MemoryWorld()
    await w.arrive("a", PatientID="ZQX-ID", PatientName="Zqxname^Zqxgiven", StudyDescription="Zqx")
    assert "zqx" not in json.dumps(await told(w)).lower()


def test_findings_are_grouped_by_code_and_counted():
    groups = grouped(
        [
            Finding(keyword="StudyDate", code="date.invalid", action="omitted"),
            Finding(keyword="SeriesDate", code="date.invalid", action="omitted"),
            Finding(keyword="Modality", code="modality.missing", action="OT written"),
        ]
    )
    assert groups.total == 3
    assert list(groups.by_code) == ["date.invalid", "modality.missing"]
    assert groups.by_code["date.invalid"].count == 2
    assert list(groups.by_code["date.invalid"].attributes) == ["SeriesDate", "StudyDate"]
    assert grouped([]) == FindingCounts(total=0, by_code={})


async def test_the_json_of_a_dead_letter_holds_no_message():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    letter = w.store.dead_letters.table.values()[0]
    w.store.dead_letters.table.upsert((letter.kind, letter.subject), replace(letter, message="Doe^Jane"))
    state = await told(w)
    assert state["dead_letter"] == letter.shown()
    assert "Doe" not in json.dumps(state)

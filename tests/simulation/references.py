"""
Interleavings of our deletions with references that others write, on a server that refuses no deletion.

Source: microsoft/fhir-server has no referential integrity; a DELETE never fails because others refer to the resource.
"""

from __future__ import annotations

from typing import Any

from sync.mapping.resource import patient_id, study_id
from tests.simulation.contents import Content
from tests.simulation.interleavings import FIRST, begin, deliver_objects, finish, settle, until
from tests.simulation.world import Actor, World

STUDY = f"ImagingStudy/{study_id(FIRST)}"


def patient_of_first(w: World) -> str:
    """Return the address of the Patient that the first study is about."""
    [row] = w.store.patients.table.values()
    return f"Patient/{patient_id(row.patient_key)}"


def refer(w: World, *targets: str) -> None:
    """Write, as another system, a resource that refers to each target."""
    for number, target in enumerate(targets, len(list(w.fhir.resources("Basic")))):
        w.create({"resourceType": "Basic", "id": f"other-{number}", "subject": {"reference": target}})


def dangling(w: World) -> set[str]:
    """Return what others refer to and is not there."""
    targets = {basic["subject"]["reference"] for basic in w.fhir.resources("Basic")}
    return {target for target in targets if w.fhir.peek(*target.split("/")) is None}


def referred_to_before(w: World) -> None:
    """Others refer to a study and its Patient; then its last instance goes."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    refer(w, STUDY, patient_of_first(w))
    w.change("a/1", None)
    settle(w)


def study_referred_to_meanwhile(w: World) -> None:
    """A reference to the study arrives after the pass asked and before it deletes."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/1", None)
    deliver_objects(w)
    slow = _about_to_delete(w, "ImagingStudy")
    refer(w, STUDY)
    finish(w, slow)
    settle(w)


def patient_referred_to_meanwhile(w: World) -> None:
    """A reference to the Patient arrives after the pass asked and before it deletes."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    patient = patient_of_first(w)
    w.change("a/1", None)
    deliver_objects(w)
    slow = _about_to_delete(w, "Patient")
    refer(w, patient)
    finish(w, slow)
    settle(w)


def study_pass_died_meanwhile(w: World) -> None:
    """The pass dies right after it deleted a study that was referred to in between."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/1", None)
    deliver_objects(w)
    _die_after_deletion(w, "ImagingStudy", STUDY)
    settle(w)


def patient_pass_died_meanwhile(w: World) -> None:
    """The pass dies right after it deleted a Patient that was referred to in between."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    patient = patient_of_first(w)
    w.change("a/1", None)
    deliver_objects(w)
    _die_after_deletion(w, "Patient", patient)
    settle(w)


def _die_after_deletion(w: World, resource_type: str, address: str) -> None:
    slow = _about_to_delete(w, resource_type)
    refer(w, address)
    until(w, slow, lambda call: call[0] == "referrers")
    w.crash(slow)


def newcomer_while_put_back(w: World) -> None:
    """A Patient was deleted and is about to be put back; a new study of the patient creates it meanwhile."""
    w.change("a/1", Content("1", "P2", "11"))
    settle(w)
    patient = patient_of_first(w)
    w.change("a/1", None)
    deliver_objects(w)
    slow = _about_to_delete(w, "Patient")
    refer(w, patient)
    until(w, slow, lambda call: call[0] == "transact" and _puts(call[1], "Patient"))
    w.change("a/2", Content("2", "P2", "21"))
    deliver_objects(w)
    w.collect_messages()
    w.start_study(*w.study_messages.pop(0))
    finish(w, w.actors[-1])
    finish(w, slow)
    settle(w)


def _about_to_delete(w: World, resource_type: str) -> Actor:
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact" and _deletes(call[1], resource_type))
    return slow


def _deletes(writes: Any, resource_type: str) -> bool:
    return writes[0].resource is None and writes[0].resource_type == resource_type


def _puts(writes: Any, resource_type: str) -> bool:
    return writes[0].resource is not None and writes[0].resource_type == resource_type

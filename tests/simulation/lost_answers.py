"""
Single interleavings around lost answers, hints that say little, and what others do to FHIR meanwhile.

As in `tests.simulation.interleavings`, each leaves a world whose end state is right only because of one rule.
"""

from __future__ import annotations

from dataclasses import replace

from sync.errors import UnexpectedFailure
from sync.mapping.resource import is_our_id
from sync.model import Change, DeadLetter
from sync.model.result_events import StudySynced
from tests.simulation.contents import Content
from tests.simulation.ehr import Ehr
from tests.simulation.interleavings import (
    FIRST,
    THIRD,
    begin,
    beside_an_ehr,
    deliver_objects,
    finish,
    settle,
    until,
)
from tests.simulation.world import Actor, World

QUIET = 5.0
ONE, TWO = Content("1", "P1", "11"), Content("1", "P1", "12")


def postponed_after_its_mark_was_taken_off(w: World) -> None:
    """A pass writes over a younger one whose record stands; its answer is lost, and the mark is gone."""
    w.change("a/1", ONE)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", TWO)
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    w.lost_answers = 1
    finish(w, slow)
    settle(w)


def attempt_noted_under_a_pass(w: World) -> None:
    """A pass is about to take the mark off when another, whose write it did not see, notes that it failed."""
    w.change("a/1", ONE)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", TWO)
    deliver_objects(w)
    fast = begin(w, FIRST)
    until(w, fast, lambda call: call[0] == "delete")
    w.lost_answers = 1
    finish(w, slow)
    finish(w, fast)
    settle(w)


def marked_anew_in_the_quiet_period(w: World) -> None:
    """A pass that wrote over a younger one begins its second round when the study has just been marked again."""
    w.quiet = QUIET
    w.services = w.new_services(step=True)
    w.change("a/1", ONE)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", TWO)
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    w.change("a/2", TWO)
    deliver_objects(w)
    finish(w, slow)
    settle(w)


def hint_without_an_etag(w: World) -> None:
    """A deleted object is there again, and what tells of it has no ETag, as a listing or a record of a feed."""
    w.change("a/1", ONE)
    settle(w)
    w.change("a/1", None)
    settle(w)
    w.change("a/1", ONE)
    change, attempt = w.object_messages.pop()
    w.object_messages.append((replace(change, etag=None), attempt))
    settle(w)


def flagged_while_it_changed(w: World) -> None:
    """A dead letter is written for an object that another delivery claims before its row can be flagged."""
    w.change("a/1", ONE)
    change, _ = w.object_messages[0]
    deliver_objects(w)
    failing = _dead_letter(w, change)
    until(w, failing, lambda call: call[0] == "replace")
    w.change("a/1", ONE)
    deliver_objects(w)
    finish(w, failing)
    w.change("a/1", ONE)
    settle(w)


def flagged_before_the_letter(w: World) -> None:
    """The object is ingested between the dead letter about it and the flag on its row."""
    w.change("a/1", ONE)
    change, _ = w.object_messages[0]
    deliver_objects(w)
    failing = _dead_letter(w, change)
    until(w, failing, lambda call: call[0] == "put" and isinstance(call[1], DeadLetter))
    w.change("a/1", ONE)
    deliver_objects(w)
    finish(w, failing)
    w.change("a/1", ONE)
    settle(w)


def _dead_letter(w: World, change: Change) -> Actor:
    steps = w.handling.dead_letter_delivery(change, UnexpectedFailure("x"), w.services)
    w.actors.append(Actor(steps, lambda: None))
    return w.actors[-1]


def others_patient_beside_rows(w: World) -> None:
    """An EHR takes over the Patient that two studies created; when the first one is projected there is only theirs."""
    w.ehr = Ehr()
    for resource in w.ehr.resources():
        w.create(resource)
    w.change("a/1", ONE)
    w.change("a/2", Content("3", "P1", "31"))
    settle(w)
    w.lose(*(("Patient", patient["id"]) for patient in list(w.fhir.resources("Patient")) if is_our_id(patient["id"])))
    w.admit()
    w.change("a/1", ONE)
    w.change("a/1", Content("1", "P1", "15"))
    deliver_objects(w)
    w.start_study(FIRST, 2)
    finish(w, w.actors[-1])
    doubled = [patient["id"] for patient in w.fhir.resources("Patient") if is_our_id(patient["id"])]
    w.never += [f"a second Patient beside the EHR's: {reference}" for reference in doubled]
    w.start_study(THIRD, 2)
    finish(w, w.actors[-1])
    settle(w)


def others_patient_deleted_meanwhile(w: World) -> None:
    """The EHR deletes the Patient that a study has chosen and is about to write into."""
    beside_an_ehr(w, "update")
    w.change("a/1", Content("3", "P2", "31"))
    deliver_objects(w)
    slow = begin(w, THIRD)
    until(w, slow, lambda call: call[0] == "read" and call[1] == "Patient")
    assert w.ehr is not None
    w.ehr.deleted.add("ehr-2")
    w.lose(("Patient", "ehr-2"))
    until(w, slow, lambda call: call[0] == "transact")
    if any(write.resource_id == "ehr-2" for write in w.next_call[1]):
        w.never.append("a Patient that the EHR has deleted was to be made again")
    finish(w, slow)
    settle(w)


def others_patient_deleted_before_it_is_left(w: World) -> None:
    """The EHR deletes a Patient into which two studies wrote; then one of them changes its patient."""
    beside_an_ehr(w, "update")
    w.change("a/1", Content("3", "P2", "31"))
    w.change("a/2", Content("4", "P2", "41"))
    settle(w)
    assert w.ehr is not None
    w.ehr.deleted.add("ehr-2")
    w.lose(("Patient", "ehr-2"))
    w.change("a/2", Content("4", "P1", "41"))
    settle(w)
    if w.fhir.peek("Patient", "ehr-2") is not None or w.store.dead_letters.table.values():
        w.never.append("a Patient that the EHR has deleted was to be made again")
    w.late = True
    w.replay()
    settle(w)


def report_changed_alone(w: World) -> None:
    """Of a study nothing changes but a document that one of its instances makes."""
    w.change("a/1", ONE)
    w.change("a/2", Content("1", "P1", "13", document=True))
    settle(w)
    told = len(_synced(w))
    w.change("a/2", Content("1", "P1", "13", document=True, verified=True))
    settle(w)
    if len(_synced(w)) == told:
        w.never.append("a changed report was no news")


def back_in_a_former_state(w: World) -> None:
    """A study comes, goes and comes back as it was: a consumer that keeps events by id has to see all three."""
    for content in (ONE, None, ONE):
        w.change("a/1", content)
        settle(w)
    if len(_synced(w)) != 2:
        w.never.append("a study that came back was no news")


def _synced(w: World) -> set[str]:
    """Return the ids of the events that reported a study's resources."""
    return {event.id for event in w.topic.events if event.type == StudySynced.type()}


SCRIPTS = [
    postponed_after_its_mark_was_taken_off,
    attempt_noted_under_a_pass,
    marked_anew_in_the_quiet_period,
    hint_without_an_etag,
    flagged_while_it_changed,
    flagged_before_the_letter,
    others_patient_beside_rows,
    others_patient_deleted_meanwhile,
    others_patient_deleted_before_it_is_left,
    report_changed_alone,
    back_in_a_former_state,
]

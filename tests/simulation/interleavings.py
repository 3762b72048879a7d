"""
Single interleavings, played call by call: races too rare for random schedules to meet soon.

Each script leaves a world whose end state is right only because of one rule; `tests.simulation.mutants` says which.
"""

from __future__ import annotations

from collections.abc import Callable

from sync.mapping.resource import patient_id, study_id
from sync.model import DeadLetter, PatientRow, StudyRef
from tests.simulation.contents import UNREADABLE, Content
from tests.simulation.ehr import Ehr
from tests.simulation.world import Actor, World

FIRST, SECOND, THIRD, FOURTH = (StudyRef(study_instance_uid=f"2.25.{n}") for n in "1234")


def died_after_writing(w: World) -> None:
    """A pass dies between its write and its record; meanwhile the study is again what the record says."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/2", Content("1", "P1", "12"))
    deliver_objects(w)
    pass_ = begin(w, FIRST)
    until(w, pass_, lambda call: call[0] == "write")
    w.change("a/2", None)
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    w.crash(pass_)
    settle(w)


def overtaken_by_a_create(w: World) -> None:
    """Two passes create the study at once; the one that read less writes last and loses the record."""
    w.change("a/1", Content("1", "P1", "11"))
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", Content("1", "P1", "12"))
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    finish(w, slow)
    settle(w)


def deleted_under_a_return(w: World) -> None:
    """A pass is about to delete a study; its instance comes back, and a pass finds all as the record says."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/1", None)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/1", Content("1", "P1", "11"))
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    finish(w, slow)
    settle(w)


def overtaken_between_claim_and_row(w: World) -> None:
    """A delivery that has claimed an object writes its row after another has moved the object to its new study."""
    w.change("a/1", Content("1", "P1", "11"))
    slow = begin_object(w)
    until(w, slow, lambda call: call[0] == "upsert")
    w.change("a/1", Content("2", "P1", "21"))
    deliver_objects(w)
    finish(w, slow)
    settle(w)


def late_dead_letter(w: World) -> None:
    """A delivery writes its dead letter after the object was repaired and settled by another, and dies."""
    w.change("a/1", UNREADABLE)
    slow = begin_object(w)
    until(w, slow, lambda call: call[0] == "put" and isinstance(call[1], DeadLetter))  # there is an event before it
    w.change("a/1", Content("1", "P1", "11"))
    deliver_objects(w)
    step(w, slow)
    w.crash(slow)
    settle(w)


def two_creators_of_a_patient(w: World) -> None:
    """Two studies create their Patient at once; the one that knows less writes last."""
    w.change("a/1", Content("1", "P2", "11"))
    w.change("a/2", Content("2", "P2", "21"))
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    finish(w, begin(w, SECOND))
    finish(w, slow)
    settle(w)


def patient_updated_between_reads(w: World) -> None:
    """Another study updates the Patient while this one is about to look at it."""
    w.change("a/1", Content("1", "P2", "11"))
    settle(w)
    w.change("a/2", Content("2", "P2", "21"))
    w.change("a/3", Content("3", "P2", "31"))
    deliver_objects(w)
    slow = begin(w, SECOND)
    until(w, slow, lambda call: call == ("search", "Patient"))
    finish(w, begin(w, THIRD))
    finish(w, slow)
    settle(w)


def known_patient_updated_between_reads(w: World) -> None:
    """A pass finds its study's row as it is to be; another study updates the Patient before it looks at that."""
    w.change("a/1", Content("1", "P2", "11"))
    w.change("a/2", Content("2", "P2", "21"))
    settle(w)
    replay(w, SECOND)
    w.change("a/3", Content("3", "P2", "31"))
    deliver_objects(w)
    slow = begin(w, SECOND)
    until(w, slow, lambda call: call == ("search", "Patient"))
    finish(w, begin(w, THIRD))
    finish(w, slow)
    settle(w)


def patient_row_gone_under_its_record(w: World) -> None:
    """A pass moves a study to another patient and dies before its record; then the study is the former one's again."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/1", Content("1", "P2", "11"))
    deliver_objects(w)
    pass_ = begin(w, FIRST)
    until(w, pass_, lambda call: call[0] == "write")
    until(w, pass_, lambda call: call[0] == "write")
    w.change("a/1", Content("1", "P1", "11"))
    deliver_objects(w)
    w.crash(pass_)
    settle(w)


def patient_left_before_the_row(w: World) -> None:
    """The last study leaves a Patient while another is between its own row and its look at the resource."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/2", Content("2", "P1", "21"))
    deliver_objects(w)
    slow = begin(w, SECOND)
    until(w, slow, lambda call: call == ("search", "Patient") or isinstance(call[1], PatientRow))
    step(w, slow)
    w.change("a/1", None)
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    finish(w, slow)
    settle(w)


def patient_deleted_under_a_newcomer(w: World) -> None:
    """The last study's pass is about to delete the Patient when another study links to it."""
    w.change("a/1", Content("1", "P2", "11"))
    settle(w)
    w.change("a/1", None)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact" and call[1][0].resource_type == "Patient")
    assert call_target(w) == patient_id(call_target(w).removeprefix("pt-"))
    w.change("a/2", Content("2", "P2", "21"))
    deliver_objects(w)
    finish(w, begin(w, SECOND))
    finish(w, slow)
    settle(w)


def patient_updated_while_left(w: World) -> None:
    """A study leaves its Patient while another, which still read its row, is about to update it."""
    w.change("a/1", Content("2", "P2", "21"))
    settle(w)
    w.change("a/2", Content("1", "P2", "11"))
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/1", None)
    deliver_objects(w)
    leaving = begin(w, SECOND)
    until(w, leaving, lambda call: call[0] == "transact" and call[1][0].resource_type == "Patient")
    finish(w, slow)
    finish(w, leaving)
    settle(w)


def document_written_after_it_went(w: World) -> None:
    """A pass is about to write a document's resources; the document goes, and a pass finds nothing of it."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/2", Content("1", "P1", "13", document=True))
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", None)
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    finish(w, slow)
    settle(w)


def document_written_under_its_return(w: World) -> None:
    """A pass is about to delete a document's resources; the document comes back, and a pass writes them."""
    w.change("a/1", Content("1", "P1", "11"))
    w.change("a/2", Content("1", "P1", "13", document=True))
    settle(w)
    w.change("a/2", None)
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "transact" and call[1][0].resource is None)
    w.change("a/2", Content("1", "P1", "13", document=True))
    deliver_objects(w)
    finish(w, begin(w, FIRST))
    finish(w, slow)
    settle(w)


def linked_patient_left(w: World) -> None:
    """The latest study of a Patient that an EHR keeps goes; what the other says holds again."""
    beside_an_ehr(w, "update")
    w.change("a/1", Content("3", "P2", "31"))
    w.change("a/2", Content("4", "P2", "41"))
    settle(w)
    w.change("a/2", None)
    settle(w)


def linked_patient_already_right(w: World) -> None:
    """A study finds an EHR's Patient right as it is, while another that has not seen it is about to write."""
    beside_an_ehr(w, "update")
    w.change("a/2", Content("4", "P2", "41"))
    settle(w)
    w.change("a/2", None)
    settle(w)
    w.change("a/1", Content("3", "P2", "31"))
    deliver_objects(w)
    slow = begin(w, THIRD)
    until(w, slow, lambda call: call[0] == "transact")
    w.change("a/2", Content("4", "P2", "41"))
    deliver_objects(w)
    finish(w, begin(w, FOURTH))
    finish(w, slow)
    settle(w)


def linked_patient_edited_meanwhile(w: World) -> None:
    """The EHR writes into its Patient while a study is about to write there."""
    beside_an_ehr(w, "update")
    w.change("a/1", Content("3", "P2", "31"))
    deliver_objects(w)
    slow = begin(w, THIRD)
    until(w, slow, lambda call: call[0] == "transact")
    w.note()
    finish(w, slow)
    settle(w)


def lost_and_replayed(w: World) -> None:
    """The server loses a study and its patient that every record of ours calls right, and a replay is asked for."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.lose(("ImagingStudy", study_id(FIRST)), ("Patient", None))
    replay(w, FIRST)
    settle(w)


def lost_under_a_trusting_pass(w: World) -> None:
    """A pass that trusts its record is about to take the study off when the server loses it; a replay is asked for."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.change("a/1", Content("1", "P1", "11"))
    deliver_objects(w)
    slow = begin(w, FIRST)
    until(w, slow, lambda call: call[0] == "delete")
    w.lose(("ImagingStudy", study_id(FIRST)))
    replay(w, FIRST)
    finish(w, slow)
    settle(w)


def named_after_linked(w: World) -> None:
    """A Patient was created; then studies shall only name their patients."""
    w.change("a/1", Content("1", "P1", "11"))
    settle(w)
    w.next_policy = "reference-only"
    w.switch()
    w.replay()
    settle(w)


SCRIPTS = [
    died_after_writing,
    overtaken_by_a_create,
    deleted_under_a_return,
    overtaken_between_claim_and_row,
    late_dead_letter,
    two_creators_of_a_patient,
    patient_updated_between_reads,
    known_patient_updated_between_reads,
    patient_row_gone_under_its_record,
    patient_left_before_the_row,
    patient_deleted_under_a_newcomer,
    patient_updated_while_left,
    document_written_after_it_went,
    document_written_under_its_return,
    linked_patient_left,
    linked_patient_already_right,
    linked_patient_edited_meanwhile,
    named_after_linked,
    lost_and_replayed,
    lost_under_a_trusting_pass,
]


def call_target(w: World) -> str:
    """Return the id of the first resource that the next transaction writes."""
    return w.next_call[1][0].resource_id


def beside_an_ehr(w: World, policy: str) -> None:
    """Let an EHR keep Patients, and the policy be another one."""
    w.ehr, w.next_policy = Ehr(), policy
    for resource in w.ehr.resources():
        w.create(resource)
    w.switch()


def begin(w: World, study: StudyRef) -> Actor:
    """Deliver a first message for the study; other messages for it are dropped, as after a long time."""
    w.collect_messages()
    w.study_messages = [message for message in w.study_messages if message[0] != study]
    w.start_study(study, 1)
    return w.actors[-1]


def replay(w: World, study: StudyRef) -> None:
    """Request, as an operator, that the study is compared with the content of FHIR."""
    w.start_replay(study)
    finish(w, w.actors[-1])


def begin_object(w: World) -> Actor:
    """Deliver the oldest message of the objects queue."""
    w.start_object(*w.object_messages.pop(0))
    return w.actors[-1]


def step(w: World, actor: Actor) -> None:
    """Let it make the call it is about to make."""
    w.step(actor)


def until(w: World, actor: Actor, reached: Callable[[tuple[str, object]], bool]) -> None:
    """Let it run until the call that it is about to make is the one."""
    w.step(actor)
    while not reached(w.next_call):
        assert actor in w.actors, "it finished before it got there"
        w.step(actor)


def finish(w: World, actor: Actor) -> None:
    """Let it run to its end."""
    while actor in w.actors:
        w.step(actor)


def deliver_objects(w: World) -> None:
    """Ingest everything that waits."""
    while w.object_messages:
        finish(w, begin_object(w))


def settle(w: World) -> None:
    """Deliver everything, first deliveries before redeliveries, until nothing is outstanding."""
    while True:
        deliver_objects(w)
        w.collect_messages()
        if not w.study_messages:
            if not w.store.dirty.table.values():
                return
            w.sweep()
        w.study_messages.sort(key=lambda message: message[1])
        w.start_study(*w.study_messages.pop(0))
        finish(w, w.actors[-1])

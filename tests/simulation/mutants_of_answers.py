"""Rules about lost answers, poor hints and what others do to FHIR meanwhile, and the edits that remove them."""

from __future__ import annotations

from tests.simulation import lost_answers
from tests.simulation.mutants import Mutant

MUTANTS = [
    Mutant(
        "a failed attempt is noted though the mark is gone",
        "sync.delivery.backoff",
        "    async def note_failure() -> float:\n",
        "    if await s.dirty.read(study) is None:\n        return\n\n    async def note_failure() -> float:\n",
        lost_answers.postponed_after_its_mark_was_taken_off,
    ),
    Mutant(
        "only a first round hands over to a message that trusts the record",
        "sync.pipeline",
        " and not redelivered and round_number == 0\n",
        " and not redelivered\n",
        lost_answers.marked_anew_in_the_quiet_period,
    ),
    Mutant(
        "a failed attempt stays noted when the study was marked meanwhile",
        "sync.protocol.dirty_studies",
        "first_marked=s.clock.now(), failing_since=None)\n",
        "first_marked=s.clock.now(), failing_since=None, attempts=0)\n",
        lost_answers.attempt_noted_under_a_pass,
    ),
    Mutant(
        "a missing ETag is no repeat",
        "sync.protocol.claims",
        "locator.settled and change.etag is not None and locator.etag == change.etag",
        "locator.settled and locator.etag == change.etag",
        lost_answers.hint_without_an_etag,
    ),
    Mutant(
        "a flag that lost its race is set again",
        "sync.protocol.dead_letters",
        '    await retry_on_conflict(flag, subject="a locator")\n',
        "    try:\n        await flag()\n    except SyncError:\n        return\n",
        lost_answers.flagged_while_it_changed,
    ),
    Mutant(
        "a dead letter comes before the flag on its row",
        "sync.protocol.dead_letters",
        "    await _put(letter, s)\n    await note()\n",
        "    await note()\n    await _put(letter, s)\n",
        lost_answers.flagged_before_the_letter,
    ),
    Mutant(
        "no Patient is made beside the EHR's for rows on their way out",
        "sync.projection.patient",
        "    if held is None and await _exists_elsewhere(row_key, rows, s):\n        return\n",
        "",
        lost_answers.others_patient_beside_rows,
    ),
    Mutant(
        "an EHR's Patient that is gone is not made again",
        "sync.projection.patient",
        "        if held is None:\n"
        '            raise FhirConflict("the Patient that was found is gone")\n'
        "        return held\n",
        "        return held\n",
        lost_answers.others_patient_deleted_meanwhile,
    ),
    Mutant(
        "an EHR's Patient that is gone is not made again when a study leaves it",
        "sync.projection.patient",
        "(held is not None and bool(rows)) if _is_linked(row_key) else",
        "bool(rows) if _is_linked(row_key) else",
        lost_answers.others_patient_deleted_before_it_is_left,
    ),
    Mutant(
        "a changed report alone is news",
        "sync.protocol.outbox",
        '    derived = (f"{name}={digest}" for name, digest in sorted(after.derived.items()))\n',
        "    derived = ()\n",
        lost_answers.report_changed_alone,
    ),
    Mutant(
        "a return to a former state has an event of its own",
        "sync.protocol.outbox",
        '    name = digest("study", after.study.key, str(times + 1), state)\n',
        '    name = digest("study", after.study.key, state)\n',
        lost_answers.back_in_a_former_state,
    ),
]

"""Whatever fails, is retried, discarded and dies at once, nothing is lost without a letter; a rule less, it is."""

from dataclasses import dataclass
from functools import partial

import pytest

from tests.simulation.amount import schedules
from tests.simulation.dead_letter_scripts import (
    SCRIPTS,
    died_discarding,
    poison_cleared,
    poison_cleared_late,
    poison_died,
    poison_overtaken,
    refused_again,
)
from tests.simulation.dead_letters import Script, interleaving, schedule
from tests.simulation.mutants import Mutant
from tests.simulation.soonest import is_noticed

SCHEDULES = schedules(20, least=5)
ENOUGH_TO_CATCH = 3_000
ACTIONS = "sync.dead_letters.actions"


@pytest.mark.parametrize("discards", [False, True], ids=["retries", "discards"])
@pytest.mark.parametrize("block", range(5))
def test_every_schedule_leaves_a_letter_of_what_fails_and_none_of_what_is_repaired(block, discards):
    seeds = range(block * SCHEDULES // 5, (block + 1) * SCHEDULES // 5)
    assert {seed: wrong for seed in seeds if (wrong := schedule(seed, discards=discards))} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_rare_interleaving_leaves_all_as_it_should_be(script):
    assert interleaving(script) == []


@dataclass(frozen=True)
class Removed(Mutant):
    """A rule of dead letters; ``discards`` or a script says which schedules show that it is gone."""

    discards: bool = False
    script: Script | None = None


_REPORT = "    return Report(dry_run=dry_run, selected"
_SEND = "    await s.object_queue.send(object_message(stored.object))\n    return Outcome.ASKED\n"
_AUDIT = "    await record_action(OperatorAction.DISCARD, s, who=who, subject=subject, code=letter.code, why=why)\n"
_DISCARDED = "        return Outcome.CHANGED\n    return Outcome.DISCARDED\n"
_PUT_AND_NOTE = "    await _put(letter, s)\n    await note()\n"

MUTANTS = [
    Removed(
        "a letter of a message goes after all that the message asks for was sent",
        ACTIONS,
        "    outcomes = _read(letter, sources)\n",
        "    outcomes = _read(letter, sources)\n"
        "    if not any(isinstance(each, PermanentError) for each in outcomes):\n"
        "        with suppress(StoreConflict):\n"
        "            await s.dead_letters.delete(letter, stored.etag)\n",
    ),
    Removed(
        "a letter of a message stays while anything of the message is refused",
        ACTIONS,
        "    if refusals:\n",
        "    if len(refusals) == len(outcomes):\n",
    ),
    Removed(
        "a letter of a message that failed again meanwhile stays",
        ACTIONS,
        "        await s.dead_letters.delete(letter, stored.etag)\n    return Outcome.ASKED\n",
        "        await s.dead_letters.clear(letter.kind, letter.subject)\n    return Outcome.ASKED\n",
        script=refused_again,
    ),
    Removed(
        "asking for another look takes no letter away",
        ACTIONS,
        _SEND,
        _SEND.replace("    return", "    await s.dead_letters.clear(letter.kind, letter.subject)\n    return"),
    ),
    Removed(
        "the trail of a retry comes first",
        ACTIONS,
        "            await note()\n            note = None\n",
        "            kept, note = note, None\n",
        more=((_REPORT, "    if codes and not dry_run and 'kept' in locals():\n        await kept()\n" + _REPORT),),
    ),
    Removed(
        "the trail of a discard comes first",
        ACTIONS,
        _AUDIT,
        "",
        more=(
            (_DISCARDED, _DISCARDED.replace("    return Outcome.DISCARDED", _AUDIT + "    return Outcome.DISCARDED")),
        ),
        script=died_discarding,
    ),
    Removed(
        "a letter that was written again since it was seen is not discarded",
        ACTIONS,
        "    if stored.value.attempts != letter.attempts:\n        return Outcome.CHANGED\n",
        "",
        discards=True,
    ),
    Removed(
        "a letter is discarded only as it was read",
        ACTIONS,
        "        await s.dead_letters.delete(letter, stored.etag)\n    except StoreConflict:\n",
        "        await s.dead_letters.clear(letter.kind, letter.subject)\n    except StoreConflict:\n",
        discards=True,
    ),
    Removed(
        "an object's row is flagged after its letter was written",
        "sync.protocol.dead_letters",
        _PUT_AND_NOTE,
        "    await note()\n    await _put(letter, s)\n",
        script=poison_overtaken,
    ),
    Removed(
        "a row that tells of a letter has one, though a success cleared it before the row told",
        "sync.protocol.dead_letters",
        "        if await s.dead_letters.read(letter.kind, letter.subject) is not None:\n            return\n",
        "        return\n",
        script=poison_cleared,
    ),
    Removed(
        "a row tells of a letter that was written again",
        "sync.protocol.dead_letters",
        "        await s.dead_letters.put(letter)\n        await note()\n",
        "        await s.dead_letters.put(letter)\n",
        script=poison_cleared_late,
    ),
    Removed(
        "a message that is poison has the row tell of a letter that a killed delivery wrote",
        "sync.delivery.handlers",
        "    return stored.value.has_dead_letter or await",
        "    return True or await",
        script=poison_died,
    ),
    Removed(
        "a study's row knows of its letter",
        "sync.protocol.dead_letters",
        "replace(before, error=refusal.code, finished=False)",
        "replace(before, finished=False)",
    ),
    Removed(
        "a letter of an object goes when its object succeeds",
        "sync.protocol.dead_letters",
        "            await s.dead_letters.clear(SubjectKind.OBJECT, str(key))\n",
        "            pass\n",
    ),
    Removed(
        "what is poison has a letter",
        "sync.delivery.handlers",
        "                await dead_letter_object(change, _poison(code), s)\n",
        "",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_dead_letters_without_this_rule_are_caught(mutant):
    modules = mutant.modules()
    changed = {"actions": modules[ACTIONS], "handlers": modules["sync.delivery.handlers"]}
    if mutant.script is not None:
        assert interleaving(mutant.script, **changed)
        return
    notices = partial(schedule, discards=mutant.discards, **changed)
    assert is_noticed(mutant.rule, notices, range(ENOUGH_TO_CATCH)), mutant.rule

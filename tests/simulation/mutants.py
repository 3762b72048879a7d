"""
Copies of the real modules with one rule taken out, to show that the simulation would notice.

A mutant is made by replacing text that must occur exactly once: when the code changes, the mutant breaks loudly rather
than testing nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tests.simulation import interleavings
from tests.simulation.contents import Content
from tests.simulation.schedules import Scenario
from tests.simulation.world import World

Script = Callable[[World], None]
"""One interleaving, played call by call."""

CHAIN = (
    "sync.protocol.outbox",
    "sync.projection.deletion",
    "sync.projection.derived",
    "sync.projection.patient",
    "sync.protocol.claims",
    "sync.protocol.dead_letters",
    "sync.protocol.arrivals",
    "sync.protocol.dirty_studies",
    "sync.projection.held",
    "sync.projection.imaging_study",
    "sync.projection.shared",
    "sync.projection.removal",
    "sync.projection.upsert",
    "sync.projection",
    "sync.protocol.removals",
    "sync.pipeline",
    "sync.delivery.backoff",
    "sync.delivery.handlers",
    "sync.dead_letters.actions",
)
"""Modules that import one another in this order: a mutant of one needs fresh copies of those above it."""


@dataclass(frozen=True)
class Mutant:
    """One rule, and the edit that removes it."""

    rule: str
    module: str
    old: str
    new: str
    scenario: Scenario | Script = field(default_factory=Scenario)
    more: tuple[tuple[str, str], ...] = ()

    def load(self) -> tuple[ModuleType, ModuleType]:
        """Return pipeline and handling with the rule removed; the real modules stay as they are."""
        modules = self.modules()
        return modules["sync.pipeline"], modules["sync.delivery.handlers"]

    def modules(self) -> dict[str, ModuleType]:
        """Return all modules of the chain with the rule removed, by name."""
        return without_rule(CHAIN, {self.module: ((self.old, self.new), *self.more)}, rule=self.rule)


def without_rule(
    chain: Sequence[str], edits: Mapping[str, Sequence[tuple[str, str]]], *, rule: str
) -> dict[str, ModuleType]:
    """Return the modules of a chain, the first that is edited and all above it as copies; the real ones stay."""
    kept = {name: import_module(name) for name in chain}
    try:
        for name in chain[min(map(chain.index, edits)) :]:
            copied(name, edits.get(name, ()), rule=rule)
        return {name: sys.modules[name] for name in chain}
    finally:
        sys.modules.update(kept)


def copied(name: str, edits: Sequence[tuple[str, str]], *, rule: str) -> ModuleType:
    """Put an edited copy of a module in its place, and return it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    for old, new in edits:
        assert source.count(old) == 1, f"{rule}: the text to replace occurs {source.count(old)} times"
        source = source.replace(old, new)
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = spec.origin
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


def apart(name: str, *edits: tuple[str, str], rule: str) -> ModuleType:
    """Return an edited copy of a module that others get to know only by being given it."""
    kept = import_module(name)
    try:
        return copied(name, edits, rule=rule)
    finally:
        sys.modules[name] = kept


BACK_AND_FORTH = Scenario(
    contents=(Content("1", "P1", "11"), Content("1", "P1", "12"), None),
    names=(1, 2),
    changes=(3, 4),
    crash_rate=(0.3,),
    timeouts=(1, 2),
    sweeps=(0,),
    haste=(0.1, 0.2),
)
"""A study changes and changes back, so that a stale record looks right."""

DOCUMENTS = Scenario(
    contents=(
        Content("1", "P1", "11"),
        Content("1", "P1", "13", document=True),
        Content("1", "P1", "14", document=True),
        None,
    ),
    names=(1, 2),
    changes=(3, 4),
    crash_rate=(0.2, 0.3),
    timeouts=(1, 2),
    haste=(0.1, 0.2, 1.0),
)
"""Documents come and go in a study, and passes over it die or are overtaken."""

MUTANTS = [
    Mutant(
        "claim before writing",
        "sync.pipeline",
        "            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))\n"
        "            await _write_rows(claim, inspection, s)\n",
        "            await _write_rows(claim, inspection, s)\n"
        "            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))\n",
    ),
    Mutant(
        "a claim without a read that conflicts reads the row",
        "sync.pipeline",
        "        except StoreConflict:\n            continue\n        return Ingested.of",
        "        except StoreConflict:\n            if unread:\n                return Ingested.REPEAT\n"
        "            continue\n        return Ingested.of",
    ),
    Mutant(
        "a claim replaces the row that was read, and inserts where none was",
        "sync.pipeline",
        "            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))\n",
        "            now = await s.locators.read(change.object)\n"
        "            etag = await (s.locators.replace(claim, now.etag) if now else s.locators.insert(claim))\n",
    ),
    Mutant(
        "the history holds every study ever claimed",
        "sync.protocol.claims",
        "    ever = studies_of(locator) if locator else frozenset[StudyRef]()\n",
        "    ever = frozenset({locator.study} - {None}) if locator else frozenset()\n",
    ),
    Mutant(
        "rows of former studies are deleted",
        "sync.pipeline",
        "    for study in sorted(claim.history):\n        await s.ledger.delete(study, key)\n",
        "",
    ),
    Mutant(
        "former studies are marked too",
        "sync.pipeline",
        "await mark_dirty(studies_of(claim), s, arrived=change.happened)",
        "await mark_dirty({claim.study} - {None}, s)",
    ),
    Mutant(
        "rows before marks",
        "sync.pipeline",
        "            await _write_rows(claim, inspection, s)\n"
        "            await mark_dirty(studies_of(claim), s, arrived=change.happened)\n",
        "            await mark_dirty(studies_of(claim), s, arrived=change.happened)\n"
        "            await _write_rows(claim, inspection, s)\n",
    ),
    Mutant(
        "settling is conditional",
        "sync.pipeline",
        "await s.locators.replace(settled, etag)",
        "await s.locators.replace(settled, (await s.locators.read(change.object)).etag)",
        interleavings.overtaken_between_claim_and_row,
    ),
    Mutant(
        "a redelivery clears what its first life may have left",
        "sync.pipeline",
        "clear=unnoted or claim.has_dead_letter",
        "clear=claim.has_dead_letter",
        interleavings.late_dead_letter,
    ),
    Mutant(
        "a redelivery does not trust the record",
        "sync.pipeline",
        "    trust = not redelivered\n",
        "    trust = True\n",
        interleavings.died_after_writing,
    ),
    Mutant(
        "a failed pass is remembered on the dirty row",
        "sync.pipeline",
        "        trust = trust and dirty.value.attempts == 0 and not dirty.value.bypass_cache\n",
        "        trust = trust and not dirty.value.bypass_cache\n",
        BACK_AND_FORTH,
    ),
    Mutant(
        "an attempt that is asked to bypasses the cached projection",
        "sync.pipeline",
        " and not dirty.value.bypass_cache\n",
        "\n",
        interleavings.lost_and_replayed,
    ),
    Mutant(
        "the order to bypass the cache stays in the row, not in a message",
        "sync.protocol.dirty_studies",
        "        waiting = replace(marked.value, first_marked=s.clock.now(), failing_since=None)\n",
        "        waiting = replace(marked.value, first_marked=s.clock.now(), failing_since=None, bypass_cache=False)\n",
        interleavings.lost_under_a_trusting_pass,
    ),
    Mutant(
        "absence of the dirty row proves nothing",
        "sync.pipeline",
        "        dirty, is_dirty = await read_dirty_study(study, s, known=marked if round_number == 0 else None)\n",
        "        if await s.dirty.read(study) is None:\n            return Projected.UNCHANGED\n"
        "        dirty, is_dirty = await read_dirty_study(study, s, known=marked if round_number == 0 else None)\n",
        interleavings.deleted_under_a_return,
    ),
    Mutant(
        "the mark is read before the ledger",
        "sync.pipeline",
        "            await clear_mark(study, dirty.etag, s)\n",
        "            await clear_mark(study, (await read_dirty_study(study, s))[0].etag, s)\n",
    ),
    Mutant(
        "a mark that is gone means another pass",
        "sync.pipeline",
        "        except Conflict:\n            trust = False\n",
        "        except Conflict:\n            if await s.dirty.read(study) is None:\n"
        "                return Projected.UNCHANGED\n            trust = False\n",
        interleavings.deleted_under_a_return,
    ),
    Mutant(
        "a second pass does not trust the record",
        "sync.pipeline",
        "        except Conflict:\n            trust = False\n",
        "        except Conflict:\n            pass\n",
        interleavings.overtaken_by_a_create,
    ),
    Mutant(
        "a new patient key is noted before its row is written",
        "sync.projection.upsert",
        "    keys = before.patient_keys | ({row_key} if row_key else frozenset())\n",
        "    keys = before.patient_keys\n",
    ),
    Mutant(
        "derived resources are noted before they are written",
        "sync.projection.upsert",
        "    derived = noted(before.derived, built.derived)\n",
        "    derived = before.derived\n",
        DOCUMENTS,
    ),
    Mutant(
        "a derived resource that is gone stays known",
        "sync.projection.derived",
        'recorded={**dict.fromkeys(recorded, ""), **hashes}',
        "recorded=hashes",
        interleavings.document_written_after_it_went,
    ),
    Mutant(
        "without trust FHIR is asked for what should be gone",
        "sync.projection.derived",
        "if (recorded[reference] if trust else held[reference])]",
        "if recorded[reference]]",
        interleavings.document_written_after_it_went,
    ),
    Mutant(
        "derived resources go with their instances",
        "sync.projection.upsert",
        "    wrote = await retire(derived.gone, s) or bool(writes)\n",
        "    wrote = bool(writes)\n",
        DOCUMENTS,
    ),
    Mutant(
        "the former patient is left",
        "sync.projection.upsert",
        "        await leave_patient(key, study, s, interrupted=p.is_interrupted(instances=built is not None))\n",
        "        pass\n",
    ),
    Mutant(
        "a created Patient's rows are read once more",
        "sync.projection.upsert",
        "    await confirm_written(link, s)\n",
        "",
        interleavings.two_creators_of_a_patient,
    ),
    Mutant(
        "the own patient row comes before the version is read",
        "sync.projection.patient",
        "    if known is None:\n        await s.patients.upsert(row)\n    held = await _held(target, claim, s)\n",
        "    held = await _held(target, claim, s)\n    if known is None:\n        await s.patients.upsert(row)\n",
        interleavings.patient_left_before_the_row,
    ),
    Mutant(
        "what is written of a known patient is built of rows that are read after it",
        "sync.projection.patient",
        "    if known is not None and (findings := _findings_if_right(target.row_key, held, known, s)) is not None:\n"
        "        return replace(same, findings=findings)\n",
        "    if known is not None:\n"
        "        write, findings = _write(target.row_key, held, known, s)\n"
        "        return replace(same, write=write, findings=findings)\n",
        interleavings.known_patient_updated_between_reads,
    ),
    Mutant(
        "a patient row that the record names is written again if it is not there",
        "sync.projection.patient",
        "    return rows if _said(rows).get(row.study.key) == _said([row])[row.study.key] else None\n",
        "    return rows\n",
        interleavings.patient_row_gone_under_its_record,
        more=(
            (
                "    if all(row.study != study for row in rows):\n",
                "    if rows and all(row.study != study for row in rows):\n",
            ),
        ),
    ),
    Mutant(
        "the version is read before the patient rows, or the rows once more after the write",
        "sync.projection.patient",
        "    held = await _held(target, claim, s)\n",
        "    rows = await s.patients.read(target.row_key)\n    held = await _held(target, claim, s)\n",
        interleavings.patient_updated_between_reads,
        more=(
            ("    rows = await s.patients.read(target.row_key)\n    if all(", "    if all("),
            ("built_from=rows if write else None", "built_from=rows if held is None else None"),
        ),
    ),
    Mutant(
        "after a delete the patient rows are read once more",
        "sync.projection.patient",
        "        if _said(await s.patients.read(row_key)) == _said(rows):\n            return\n",
        "        return\n",
        interleavings.patient_deleted_under_a_newcomer,
    ),
    Mutant(
        "a Patient that changed while it was left is looked at again",
        "sync.projection.patient",
        "        except FhirConflict:\n            continue\n",
        "        except FhirConflict:\n            return\n",
        interleavings.patient_updated_while_left,
        more=(("built_from=rows if write else None", "built_from=rows if held is None else None"),),
    ),
    Mutant(
        "a Patient of others is written under its version",
        "sync.projection.patient",
        "    version = version_of(held) if held else None\n",
        "    version = version_of(held) if held and not _is_linked(row_key) else None\n",
        interleavings.linked_patient_edited_meanwhile,
    ),
    Mutant(
        "a Patient of others is written anew when a study leaves it",
        "sync.projection.patient",
        '    if _is_linked(row_key) and s.settings.patient_policy != "update":\n',
        "    if _is_linked(row_key):\n",
        interleavings.linked_patient_left,
    ),
    Mutant(
        "the rows are read once more after any write of a Patient",
        "sync.projection.patient",
        "built_from=rows if write else None",
        "built_from=rows if held is None else None",
        interleavings.linked_patient_already_right,
    ),
    Mutant(
        "a study that only names its patient leaves the rows of former policies",
        "sync.projection.upsert",
        "    return projection.patient_keys - {projection.patient_key}\n",
        "    kept = projection.patient_keys if projection.patient_id is None else {projection.patient_key}\n"
        "    return projection.patient_keys - kept\n",
        interleavings.named_after_linked,
    ),
    Mutant(
        "what was announced is compared with what is true",
        "sync.projection.upsert",
        "    after = await add_study_event(after, p.before, s)\n",
        "    after = await add_study_event(after, p.before, s) if wrote else after\n",
    ),
    Mutant(
        "a result event is in the outbox before the record says so",
        "sync.projection.upsert",
        "    after = await add_study_event(after, p.before, s)\n"
        "    if wrote or note is None or after != note.value:\n"
        "        await s.projections.write(after, note.etag if note else None)\n",
        "    told = await add_study_event(after, p.before, replace(s, results=None))\n"
        "    if wrote or note is None or told != note.value:\n"
        "        await s.projections.write(told, note.etag if note else None)\n"
        "    await add_study_event(after, p.before, s)\n",
    ),
]

"""What a world must have become, whatever happened on the way: as a clean one that sees the objects as they are now."""

from __future__ import annotations

import random
from typing import Any

from sync import pipeline
from sync.delivery import handlers
from sync.events import study_message
from sync.mapping.resource import canonical
from sync.model import Action, Change, Projection, StudyRef, digest
from sync.protocol import outbox
from sync.verify.orphans import check_orphan
from sync.verify.studies import check_study
from tests.simulation.stepping import run
from tests.simulation.world import Faults, World


def state(w: World) -> dict[str, Any]:
    """Return everything that must not depend on the schedule."""
    return {
        "fhir": {(r["resourceType"], r["id"]): canonical(_comparable(w, r)) for r in w.fhir.resources()},
        "dead letters": {(d.kind, d.subject, d.code) for d in w.store.dead_letters.table.values()},
        "ledger": {
            (row.record.study.key, row.object_key, row.record.sop_instance_uid, row.order)
            for table in w.store.ledger.studies.values()
            for row in table.values()
        },
        "patients": {(row.patient_key, row.study.key) for row in w.store.patients.table.values()},
        "outstanding": len(w.store.dirty.table.values()),
        "announced": {p.study.key for p in w.store.projections.table.values() if p.published_state},
        "untold": _untold(w),
    }


def _untold(w: World) -> set[str]:
    """Return studies whose last result event did not reach the topic, although all work is done."""
    w.clock.advance(100)
    services = w.new_services(step=False)
    while w.store.outbox.table.values():
        run(outbox.sweep_outbox(services))
    told = {event.id for event in w.topic.events}
    rows = [row for row in w.store.projections.table.values() if row.published_count]
    return {row.study.key for row in rows if _last_event(row) not in told}


def _comparable(w: World, resource: dict[str, Any]) -> dict[str, Any]:
    meta = {k: v for k, v in resource["meta"].items() if k != "versionId"}
    body = {**resource, "meta": meta}
    if w.ehr and resource["id"] == w.ehr.study:
        # Without instances it is as we found it, or cancelled if we ever wrote it: both are right.
        left = w.store.ledger.studies.get(StudyRef(study_instance_uid="2.25.2").key)
        return body if left and left.values() else {"note": resource.get("note"), "subject": resource["subject"]}
    if resource["id"].startswith("ehr"):
        return _comparable_person(w, body)
    return {k: v for k, v in body.items() if k != "note"}  # a client's note goes with a study that goes


def _comparable_person(w: World, person: dict[str, Any]) -> dict[str, Any]:
    """Leave out of an EHR's Patient what former rows, or a former policy, may have left there for good."""
    said = [row for row in w.store.patients.table.values() if row.patient_key == f"linked.{person['id']}"]
    said = [row for row in said if not row.attributes.get("PatientIdentityRemoved")]
    stated = {"name"} if said else set()
    if any(row.attributes.get("PatientSex") for row in said):
        stated.add("gender")
    uncertain = {"name", "gender"} - stated if w.policies != {"link-or-create"} else set()
    return {k: v for k, v in person.items() if k not in uncertain}


def _last_event(row: Projection) -> str:
    return digest("study", row.study.key, str(row.published_count), row.published_state)


def clean_state(world: World) -> dict[str, Any]:
    """Return the state of a new world that sees the final objects once, without any fault."""
    clean = World(random.Random(0), Faults(), ehr=world.ehr, policy=world.policy, quiet=world.quiet)
    clean.policies = world.policies
    clean.objects = world.objects
    services = clean.new_services(step=False)
    for ref in world.objects.refs():
        run(pipeline.ingest(Change(object=ref, action=Action.CREATED), services))
    for study in [dirty.study for dirty in clean.store.dirty.table.values()]:
        clean.clock.advance(100)
        run(handlers.handle_study_message(study_message(study), services))
    return state(clean)


def difference(world: World) -> str | None:
    """Compare with a clean world that sees only the objects as they are now; None when nothing differs."""
    got, wanted = state(world), clean_state(world)
    wrong = [f"{part}: {got[part]} instead of {wanted[part]}" for part in wanted if got[part] != wanted[part]]
    return "; ".join(wrong + world.never) or drift(world)


def drift(world: World) -> str | None:
    """Verify the world as it is; None when every study and everything that FHIR lists is as it should be."""
    services = world.new_services(step=False)
    studies = [projection.study for projection in world.store.projections.table.values()]
    drifts = [run(check_study(study, services)) for study in studies]
    drifts += [run(check_orphan(listed, services)) for listed in world.fhir.resources()]
    wrong = [told for told in drifts if told is None or told]
    return f"drift: {wrong}" if wrong else None

"""What others refer to stays, or comes back, on a server that refuses no deletion."""

import random

import pytest

from sync.mapping.resource import study_id
from tests.simulation import references
from tests.simulation.interleavings import FIRST
from tests.simulation.mutants import Mutant
from tests.simulation.references import dangling
from tests.simulation.world import Faults, World


def world(**modules):
    return World(random.Random(0), Faults(), **modules)


def deleted_once(w):
    """Return the Patients with more than one version: they were deleted, and restored."""
    return {patient["id"] for patient in w.fhir.resources("Patient") if w.fhir.history("Patient", patient["id"]) > 1}


@pytest.mark.parametrize(
    "script",
    [
        references.referred_to_before,
        references.study_referred_to_meanwhile,
        references.patient_referred_to_meanwhile,
        references.study_pass_died_meanwhile,
        references.patient_pass_died_meanwhile,
        references.newcomer_while_put_back,
    ],
    ids=lambda script: script.__name__,
)
def test_what_others_refer_to_is_there_in_the_end(script):
    w = world()
    script(w)
    assert dangling(w) == set()
    assert w.store.dirty.table.values() == []


def test_what_others_refer_to_is_never_deleted_if_they_did_before():
    w = world()
    references.referred_to_before(w)
    assert deleted_once(w) == set()
    assert w.fhir.peek("ImagingStudy", study_id(FIRST))["status"] == "cancelled"


def test_a_patient_that_was_put_back_says_what_the_rows_of_a_newcomer_say():
    w = world()
    references.newcomer_while_put_back(w)
    [patient] = w.fhir.resources("Patient")
    clean = world()
    clean.change("a/2", references.Content("2", "P2", "21"))
    references.settle(clean)
    [wanted] = clean.fhir.resources("Patient")
    assert {**patient, "meta": None} == {**wanted, "meta": None}


MUTANTS = [
    Mutant(
        "what refers to a resource is asked once more after its deletion",
        "sync.projection.deletion",
        "    again = deleted and {reference",
        "    again = () and {reference",
        references.patient_referred_to_meanwhile,
    ),
    Mutant(
        "the study, too",
        "sync.projection.deletion",
        "    again = deleted and {reference",
        "    again = () and {reference",
        references.study_referred_to_meanwhile,
    ),
    Mutant(
        "what refers to a resource is asked before its deletion",
        "sync.projection.deletion",
        "    going = _free(await s.fhir.referrers(references))\n",
        "    going = frozenset(references)\n",
        references.referred_to_before,
    ),
    Mutant(
        "a study that a dead pass deleted is looked for again",
        "sync.projection.removal",
        "    if absent and p.is_interrupted(instances=False):\n",
        "    if absent and p.is_interrupted(instances=True):\n",
        references.study_pass_died_meanwhile,
    ),
    Mutant(
        "a Patient that a dead pass deleted is looked for again",
        "sync.projection.upsert",
        "interrupted=p.is_interrupted(instances=built is not None))",
        "interrupted=False)",
        references.patient_pass_died_meanwhile,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_a_deletion_without_this_rule_is_caught(mutant):
    pipeline, handling = mutant.load()
    w = world(pipeline=pipeline, handling=handling)
    mutant.scenario(w)
    assert dangling(w) or deleted_once(w)

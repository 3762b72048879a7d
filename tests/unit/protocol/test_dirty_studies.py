"""When a study is due: after its last object's quiet period, at once where no object came."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from sync.config import Settings
from sync.model import DirtyStudy, StudyRef
from sync.protocol.dirty_studies import due_at

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CORE = SimpleNamespace(
    settings=Settings(fhir_url="https://fhir.example", AzureWebJobsStorage="UseDevelopmentStorage=true")
)
COMPARED = DirtyStudy(
    study=StudyRef(study_instance_uid="2.25.1"),
    first_marked=NOW,
    last_marked=NOW,
    bypass_cache=True,
    comparison=True,
)


@pytest.mark.parametrize("in_fhir", [True, False])
def test_what_is_only_to_be_compared_is_due_at_once(in_fhir):
    assert due_at(COMPARED, CORE, in_fhir=in_fhir) == NOW


def test_with_an_object_it_waits_for_more():
    grown = replace(COMPARED, comparison=False)
    assert due_at(grown, CORE, in_fhir=True) == NOW + timedelta(seconds=CORE.settings.quiet_period)


def test_after_a_failure_it_waits_as_any_other():
    later = NOW + timedelta(minutes=1)
    assert due_at(replace(COMPARED, not_before=later), CORE, in_fhir=True) == later

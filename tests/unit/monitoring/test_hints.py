"""What is said of a failing service by its code: something to do, never only to read the log."""

import json
from importlib.resources import files

import pytest

from sync.errors import SyncError
from sync.monitoring.hints import hint_of

CODES = json.loads(files("sync.web").joinpath("runbook.json").read_text(encoding="utf-8"))
SERVICES = ("events.", "fhir.", "source.", "store.")


@pytest.mark.parametrize("code", [code for code in CODES if code.startswith(SERVICES)])
def test_every_code_of_a_service_says_what_to_do(code):
    assert hint_of(code) != SyncError.hint


def test_a_code_that_nothing_is_known_of_leads_to_the_log():
    assert hint_of("other.code") == SyncError.hint

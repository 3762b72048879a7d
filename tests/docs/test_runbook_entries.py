"""The dashboard's copy of the runbook is the runbook."""

import json

from sync.monitoring.alerts.rules import RULES
from tests.docs.runbook_entries import ENTRIES, text


def test_the_entries_of_the_dashboard_are_those_of_the_page():
    assert ENTRIES.read_text("utf-8") == text(), "run .venv/bin/python -m tests.docs.runbook_entries"


def test_every_alert_has_an_entry_with_what_to_do():
    entries = json.loads(ENTRIES.read_text("utf-8"))
    assert all(entries[rule.code] for rule in RULES)

"""
Commands of `insights` under ``python -m sync``. One module a command.

Nothing is imported here: a command's module is loaded when the command is used, and DuckDB and the models of FHIR when
it runs, so that the other commands start as fast as before and work without the extra.
"""

from __future__ import annotations

COMMANDS = {
    "collect": (
        "insights.cli.collecting:collect",
        "Collect FHIR resources as flat tables for cohorts and other questions.",
        True,  # without an argument it shows its help
    ),
    "cohort": (
        "insights.cli.cohorts:app",
        "Cohorts of patients by a definition: check, run, dummy data, differences.",
    ),
    "timeline": (
        "insights.cli.timeline:timeline",
        "Show one patient over time: problems, operations, medication, studies, reports, measurements.",
        True,
    ),
    "similar": (
        "insights.cli.similar:similar",
        "Show how patients similar to one were treated, and their outcomes.",
        True,
    ),
    "feedback": (
        "insights.cli.feedback:app",
        "Feedback to readers and models: compare their findings with later outcomes.",
    ),
    "models": (
        "insights.cli.models:app",
        "Compare findings and sizes of an algorithm with outcomes and implants.",
    ),
}
"""By name: ``module:attribute``, first sentence of the help, and what else `sync.cli.loading.CommandPlace` holds."""

"""The failures of `insights`: a code, a text without patient data, and a hint."""

from __future__ import annotations

import json
import re
from typing import ClassVar

EXIT_REJECTED = 1
"""The question is understood, but the answer is incomplete or withheld."""

EXIT_USAGE = 2
"""The command line, a setting, a definition or an input file is wrong; nothing was written."""

EXIT_UNAVAILABLE = 3
"""A service did not answer; the command may be repeated and continues where it stopped."""


class InsightsError(Exception):
    """
    A failure with a code that the runbook explains.

    Parameters
    ----------
    message
        What is wrong, and where; never a value of a patient.
    code
        ``area.reason``.
    hint
        What to do; empty if the message says it.
    """

    exit_code: ClassVar[int] = EXIT_USAGE

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        """Return code, message and hint as one line."""
        return f"{self.code}: {self.message}" + (f" {self.hint}" if self.hint else "")


class ViewError(InsightsError):
    """A ViewDefinition is invalid, uses an element that is not supported, or met data that it does not allow."""


class DataError(InsightsError):
    """An input file is torn, too large, or of another kind than its name says."""


class CollectError(InsightsError):
    """Data cannot be collected as asked."""


class CohortError(InsightsError):
    """A definition is wrong, or the data cannot answer it."""


class OutcomeError(InsightsError):
    """A rule is wrong, or the data has no such reader or model."""


class TimelineError(InsightsError):
    """A timeline cannot be shown as asked."""


class Withheld(InsightsError):
    """An answer would reveal too much about too few people, or lacks a purpose or an approval."""

    exit_code = EXIT_REJECTED


class Unavailable(InsightsError):
    """A service did not answer; repeat the command."""

    exit_code = EXIT_UNAVAILABLE


def unreadable(problem: Exception) -> str:
    """Return why a file cannot be read, without its content: the system's error, else the expected form."""
    if isinstance(problem, OSError):
        return problem.strerror or "it cannot be read"
    if isinstance(problem, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if isinstance(problem, json.JSONDecodeError):
        return f"it is not JSON, from line {problem.lineno} on"
    return "its content is not as it has to be"


def of_duckdb(problem: Exception) -> str:
    """
    Name the kind of an error of DuckDB, without its text, which may hold values of the data.

    >>> class OutOfRangeException(Exception): ...
    >>> of_duckdb(OutOfRangeException())
    'DuckDB reports: out of range'
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(problem).__name__.removesuffix("Exception").removesuffix("Error"))
    return f"DuckDB reports: {words.lower() or 'an error'}"

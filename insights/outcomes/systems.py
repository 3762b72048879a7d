"""Checks that the data uses the code systems of a rule: codes of another system would silently match nothing."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from insights.errors import OutcomeError
from insights.outcomes.rule import Prepared

_Columns = Sequence[tuple[str, str]]

_SAID = (("report_conclusion", "code_system"), ("observation", "code_system"), ("observation", "value_code_system"))
_FOUND = (
    ("report_conclusion", "code_system"),
    ("procedure", "code_system"),
    ("procedure", "outcome_system"),
    ("condition", "code_system"),
)
_RECOMMENDED, _IMPLANTED = (("observation", "code_system"),), (("device_property", "type_system"),)


def check_systems(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> None:
    """
    Check that the data uses a code system of each part of a rule; a part of which the data has no codes passes.

    Raises
    ------
    OutcomeError
        ``outcome.unknown_system``, with line and column.
    """
    rule = prepared.rule
    for field, judged, columns in (("said", rule.said, _SAID), ("found", rule.found, _FOUND)):
        if judged is not None:
            _check(connection, prepared, (field,), (judged.positive, judged.negative), columns)
    if rule.size is not None:
        _check(connection, prepared, ("size", "said"), (rule.size.said,), _RECOMMENDED)
        _check(connection, prepared, ("size", "used"), (rule.size.used,), _IMPLANTED)


def _check(
    connection: duckdb.DuckDBPyConnection,
    prepared: Prepared,
    path: tuple[str | int, ...],
    names: Sequence[str],
    columns: _Columns,
) -> None:
    asked = {code.system for name in names for code in prepared.codes[name]}
    union = " UNION ".join(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL" for table, column in columns)
    used = {str(row[0]) for row in connection.execute(union).fetchall()}
    if used and not asked & used:
        raise OutcomeError(
            f"{prepared.located.where(path)}: the data is coded in no system of {' and '.join(map(repr, names))}",
            code="outcome.unknown_system",
            hint=f"The data uses: {', '.join(sorted(used)[:5])}.",
        )

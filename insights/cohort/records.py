"""
Records of each kind: which of them count, their dates and their codes. One row per record and coding.

Columns: ``record_id`` (the Patient to which the record refers), ``id``, ``system``, ``code``, ``first``, ``last``.
Records that were entered in error, refuted, not done or only planned never count.
"""

from __future__ import annotations

from collections.abc import Iterable

from insights.cohort.codes import Code
from insights.cohort.days import first_day, last_day
from insights.views.shape import literal

_RESTRICTED = "NOT regexp_matches(coalesce(r.confidentiality, ''), '(^|[|])(R|V)([|]|$)')"

_CONFIRMED = ("provisional", "differential", "unconfirmed")
_REFUTED = ("refuted", "entered-in-error")


def one_of(sql: str, values: Iterable[str]) -> str:
    """Return whether a text is one of several, as SQL."""
    return f"{sql} IN ({', '.join(literal(value) for value in values)})"


def has_code(system: str, code: str, codes: Iterable[Code]) -> str:
    """Return whether a coding is one of a set, as SQL; FALSE if it is NULL."""
    plain: dict[str, list[str]] = {}
    tests = []
    for wanted in codes:
        if wanted.like is None:
            plain.setdefault(wanted.system, []).append(wanted.code)
        else:
            like = f"{code} LIKE {literal(wanted.like)} ESCAPE '\\'"
            tests.append(f"({system} = {literal(wanted.system)} AND {like})")
    tests += [
        f"({system} = {literal(name)} AND {one_of(code, sorted(listed))})" for name, listed in sorted(plain.items())
    ]
    return f"coalesce({' OR '.join(tests)}, FALSE)"


def _days(*names: str) -> str:
    """Return the first and the last day of the first date that is present."""
    if len(names) == 1:
        return f"{first_day(f'r.{names[0]}')} AS first, {last_day(f'r.{names[0]}')} AS last"
    value = f"coalesce({', '.join(f'r.{name}' for name in names)})"
    return f"{first_day(value)} AS first, {last_day(value)} AS last"


def _status(*unwanted: str) -> str:
    return f"NOT {one_of(_text('status'), unwanted)}"


def _text(name: str) -> str:
    return f"coalesce(r.{name}, '')"


def conditions(dates: str, *, provisional: bool, restricted: bool) -> str:
    """Return the conditions; `dates` is ``onset``, ``recorded`` or ``onset or recorded``."""
    names = {
        "onset": ("onset", "onset_start"),
        "recorded": ("recorded",),
        "onset or recorded": ("onset", "onset_start", "recorded"),
    }[dates]
    out = _REFUTED if provisional else (*_REFUTED, *_CONFIRMED)
    where = [f"NOT {one_of(_text('verification_status'), out)}"]
    return _select("condition", _days(*names), where, restricted=restricted)


def medications(*, restricted: bool) -> str:
    """Return prescriptions and administrations; a referenced medication contributes its codes."""
    code = "coalesce(r.code_system, m.code_system) AS system, coalesce(r.code, m.code) AS code"
    join = "LEFT JOIN medication AS m ON m.id = r.medication_id"
    prescribed = [
        _status("entered-in-error", "cancelled", "draft"),
        f"NOT {one_of(_text('intent'), ('proposal', 'plan'))}",
        "NOT coalesce(r.do_not_perform, FALSE)",
    ]
    given = [_status("entered-in-error", "not-done")]
    first = _select("medication_request", _days("authored"), prescribed, restricted=restricted, code=code, join=join)
    dates = _days("effective", "effective_start")
    second = _select("medication_administration", dates, given, restricted=restricted, code=code, join=join)
    return f"{first} UNION ALL {second}"


def procedures(*, restricted: bool) -> str:
    """Return procedures that have started."""
    where = [_status("entered-in-error", "not-done", "preparation")]
    return _select("procedure", _days("performed", "performed_start"), where, restricted=restricted)


def observations(*, restricted: bool, value: str = "TRUE") -> str:
    """Return final observations; `value` is a condition on their value."""
    where = [_status("entered-in-error", "cancelled", "registered", "preliminary"), value]
    dates = _days("effective", "effective_instant", "effective_start")
    return _select("observation", dates, where, restricted=restricted)


def studies(*, restricted: bool, site: str = "TRUE") -> str:
    """Return imaging studies, one row per modality, which is the code; `site` is a condition on the study."""
    modalities = "CASE WHEN r.modalities IS NULL THEN [NULL] ELSE string_split(r.modalities, '|') END"
    code = f"'modality' AS system, unnest({modalities}) AS code"
    where = [_status("entered-in-error", "cancelled"), site]
    return _select("imaging_study", _days("started"), where, restricted=restricted, code=code)


def encounters(*, restricted: bool) -> str:
    """Return encounters that have started; their code is the class."""
    where = [_status("entered-in-error", "cancelled", "planned")]
    code = "'class' AS system, r.class AS code"
    return _select("encounter", _days("start"), where, restricted=restricted, code=code)


def _select(
    table: str,
    days: str,
    where: list[str],
    *,
    restricted: bool,
    code: str = "r.code_system AS system, r.code AS code",
    join: str = "",
) -> str:
    conditions = " AND ".join([*where, *([] if restricted else [_RESTRICTED])])
    columns = f"r.patient_id AS record_id, r.id, '{table}' AS source, {code}, {days}"
    return f"SELECT {columns} FROM {table} AS r {join} WHERE {conditions}"

"""
Compiles a definition to one SQL question: people, consent, then each criterion on the people who remain.

People are the Patients that no other Patient replaced; records of a replaced Patient count for its replacement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from insights.cohort.codes import CodeSets
from insights.cohort.criteria import Asked, criterion_sql
from insights.cohort.days import day, first_day, last_day
from insights.cohort.definition import Definition
from insights.cohort.engine import Tables
from insights.cohort.reports import REPORT_STUDY
from insights.cohort.words import criterion_words
from insights.merges import MAX_MERGES
from insights.views.shape import literal

_JOINS = "\n    ".join(
    f"LEFT JOIN merged AS m{hop} ON m{hop}.old_id = {'p.id' if hop == 1 else f'm{hop - 1}.new_id'}"
    for hop in range(1, MAX_MERGES + 1)
)
_LAST = ", ".join(f"m{hop}.new_id" for hop in range(MAX_MERGES, 0, -1))

_PEOPLE = f"""
link AS (
    SELECT DISTINCT old_id, new_id FROM (
        SELECT patient_id AS old_id, other_id AS new_id FROM patient_link WHERE type = 'replaced-by'
        UNION ALL
        SELECT other_id AS old_id, patient_id AS new_id FROM patient_link WHERE type = 'replaces'
    ) WHERE old_id <> new_id AND new_id IN (SELECT id FROM patient)
),
merged AS (
    SELECT l.old_id, min(l.new_id) AS new_id FROM link AS l
    LEFT JOIN link AS b ON b.old_id = l.new_id AND b.new_id = l.old_id
    WHERE b.old_id IS NULL OR l.old_id > l.new_id  -- of two that replace each other the first stays
    GROUP BY l.old_id
),
record_of AS (
    SELECT p.id AS record_id, coalesce({_LAST}, p.id) AS patient_id
    FROM (SELECT id FROM patient UNION SELECT old_id AS id FROM merged) AS p
    {_JOINS}
),
person AS (
    SELECT p.id AS patient_id, p.gender, p.birth_date, p.death_date, p.deceased,
           regexp_matches(coalesce(p.confidentiality, ''), '(^|[|])(R|V)([|]|$)') AS restricted
    FROM patient AS p JOIN record_of AS w ON w.record_id = p.id AND w.patient_id = p.id
)"""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the funnel: its question in words, and its relation of answers."""

    words: str
    kind: str
    answers: str


@dataclass(frozen=True, slots=True)
class Question:
    """
    A compiled definition.

    Attributes
    ----------
    steps
        In order; each step asks about the people who passed the previous ones.
    without
        Id of a person to leave out; None to include all.
    """

    definition: Definition
    asked: Asked
    steps: tuple[Step, ...]
    without: str | None = None

    def with_relations(self, select: str, *more: str) -> str:
        """
        Return a query that may read ``person``, ``record_of``, ``answer_N``, ``passed_N`` and ``member``.

        Parameters
        ----------
        more
            Further relations, ``name AS (…)``, that may read the ones above.
        """
        relations = [_PEOPLE.strip()]
        others = "" if self.without is None else f" WHERE patient_id <> {literal(self.without)}"
        relations.append(f"passed_0 AS (SELECT patient_id FROM person{others})")
        for number, step in enumerate(self.steps, start=1):
            relations.append(f"answer_{number} AS ({step.answers})")
            relations.append(
                f"passed_{number} AS (SELECT a.patient_id FROM answer_{number} AS a "
                f"JOIN passed_{number - 1} AS p ON p.patient_id = a.patient_id WHERE a.answer = 1)"
            )
        relations.append(f"member AS (SELECT patient_id FROM passed_{len(self.steps)})")
        return "WITH " + ",\n".join([*relations, *(relation.strip() for relation in more)]) + f"\n{select}"

    def funnel(self) -> str:
        """Return the query of all steps: their number, then the counts of `insights.cohort.protection.Raw`."""
        nothing = "0 AS undecided, 0 AS records, 0 AS undated, 0 AS uncoded, 0 AS people_undated, 0 AS people_uncoded"
        parts = [f"SELECT 0 AS step, count(*) AS people, {nothing} FROM passed_0"]
        for number in range(1, len(self.steps) + 1):
            joins = "".join(f" JOIN answer_{n} AS a{n} ON a{n}.patient_id = p.patient_id" for n in range(1, number + 1))
            records = " + ".join(f"a{n}.records" for n in range(1, number + 1))
            a = f"a{number}"
            parts.append(
                f"SELECT {number}, count(*) FILTER ({a}.answer = 1), count(*) FILTER ({a}.answer IS NULL), "
                f"coalesce(sum({records}) FILTER ({a}.answer = 1), 0), coalesce(sum({a}.undated), 0), "
                f"coalesce(sum({a}.uncoded), 0), count(*) FILTER ({a}.undated > 0), "
                f"count(*) FILTER ({a}.uncoded > 0) FROM passed_{number - 1} AS p{joins}"
            )
        return self.with_relations(" UNION ALL ".join(parts) + " ORDER BY step")

    def materialise(self, tables: Tables) -> None:
        """Materialise ``person``, ``record_of``, ``member`` and ``report_of`` for extracts; idempotent."""
        tables.keep("member", self.with_relations("SELECT * FROM member"))
        for name in ("person", "record_of"):
            tables.keep(name, f"WITH {_PEOPLE} SELECT * FROM {name}")
        tables.keep("report_of", f"WITH {REPORT_STUDY} SELECT * FROM report_of")

    def answers(self) -> str:
        """Return the query of every person's outcome: in, out or undecided, by the first step that was failed."""
        joins = "".join(
            f" JOIN answer_{number} AS a{number} ON a{number}.patient_id = p.patient_id"
            for number in range(1, len(self.steps) + 1)
        )
        cases = "".join(
            f" WHEN a{number}.answer IS NULL THEN 'undecided' WHEN a{number}.answer = 0 THEN 'out'"
            for number in range(1, len(self.steps) + 1)
        )
        outcome = f"CASE{cases} ELSE 'in' END" if cases else "'in'"
        return self.with_relations(
            f"SELECT p.patient_id, {outcome} AS outcome FROM person AS p{joins} ORDER BY p.patient_id"
        )


def compile_question(definition: Definition, codes: CodeSets, as_of: date) -> Question:
    """Return the question of a definition; pure."""
    asked = Asked(codes, as_of, definition.restricted)
    steps = []
    if not definition.restricted:
        steps.append(Step("whose record is not restricted", "restricted", _UNRESTRICTED))
    if definition.consent != "none":
        words = "who agreed to research" if definition.consent == "required" else "who did not object to research"
        steps.append(Step(words, "consent", _consent(as_of, required=definition.consent == "required")))
    steps += [
        Step(criterion_words(criterion), criterion.kind, criterion_sql(criterion, asked))
        for criterion in definition.who
    ]
    return Question(definition, asked, tuple(steps))


_UNRESTRICTED = (
    "SELECT patient_id, CASE WHEN restricted THEN 0 ELSE 1 END AS answer, 0 AS records, 0 AS undated, 0 AS uncoded "
    "FROM person"
)


def _consent(as_of: date, *, required: bool) -> str:
    """
    Return the people who agreed: the latest provision on research wins, and a denial if the dates do not decide.

    Dates do not decide if both are of one day, partial or missing: a denial counts as of the latest day that its date
    can mean, a permit as of the earliest. A rejected consent is a denial. Source: FHIR R4 Consent.provision.
    """
    at, is_denial = day(as_of), "(r.status = 'rejected' OR r.provision_type = 'deny')"
    latest, earliest = (
        f"coalesce({first}, {day(never)})"
        for first, never in ((last_day("r.date_time"), date.max), (first_day("r.date_time"), date.min))
    )
    return f"""
    SELECT p.patient_id,
           CASE WHEN c.type = 'deny' THEN 0 WHEN c.type = 'permit' THEN 1 ELSE {0 if required else 1} END AS answer,
           0 AS records, 0 AS undated, 0 AS uncoded
    FROM person AS p
    LEFT JOIN (
        SELECT w.patient_id, CASE WHEN r.status = 'rejected' THEN 'deny' ELSE r.provision_type END AS type
        FROM consent AS r JOIN record_of AS w ON w.record_id = r.patient_id
        WHERE r.status IN ('active', 'rejected') AND (r.provision_type IN ('permit', 'deny') OR r.status = 'rejected')
          AND (r.scope = 'research' OR regexp_matches(coalesce(r.purpose, ''), '(^|[|])HRESCH([|]|$)'))
          AND coalesce({first_day("r.date_time")} <= {at}, TRUE)
          AND coalesce({first_day("r.period_start")} <= {at}, TRUE)
          AND coalesce({last_day("r.period_end")} >= {at}, TRUE)
        QUALIFY row_number() OVER (
            PARTITION BY w.patient_id
            ORDER BY CASE WHEN {is_denial} THEN {latest} ELSE {earliest} END DESC,
                     CASE WHEN {is_denial} THEN 0 ELSE 1 END
        ) = 1
    ) AS c ON c.patient_id = p.patient_id"""

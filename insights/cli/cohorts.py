"""``python -m sync cohort``: the members of a cohort, the funnel of exclusions, and an extract about the members."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insights.cli.options import DataFolder, Engine, OutFolder, Overwrite
from insights.cli.reporting import command, console
from insights.errors import EXIT_REJECTED

if TYPE_CHECKING:
    from insights.cohort.run import Prepared

app = typer.Typer(
    name="cohort",
    help="Cohorts of patients by a definition: check, run, dummy data, differences.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

DefinitionFile = Annotated[Path, typer.Argument(metavar="FILE", help="The definition, YAML.", show_default=False)]


class Format(StrEnum):
    """Formats of extracts."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


@app.command("check")
@command
def check(
    file: DefinitionFile,
    *,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Also check whether this data uses its code systems.")
    ] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Write the question as SQL to standard output.")] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="Dialect of the SQL that --sql writes.")] = Engine.DUCKDB,
) -> None:
    """
    Check a definition, print it in words, and run the tests in it.

    **Examples**

    - in words, with its tests: `python -m sync cohort check osteosarcoma.yaml`

    - as SQL: `python -m sync cohort check osteosarcoma.yaml --sql`

    - as SQL for Fabric or Databricks: `python -m sync cohort check osteosarcoma.yaml --sql --engine spark`

    **Exit codes**

    - 0: the definition is valid, and its tests pass

    - 1: one of its tests fails

    - 2: the definition is invalid; line and column are named
    """
    from insights.cohort.answer import check_systems  # noqa: PLC0415 -- loaded when the command runs
    from insights.cohort.engine import in_duckdb  # noqa: PLC0415 -- loaded when the command runs
    from insights.cohort.examples import run_tests  # noqa: PLC0415
    from insights.cohort.question import compile_question  # noqa: PLC0415
    from insights.cohort.run import prepare, question_of  # noqa: PLC0415
    from insights.cohort.words import paraphrase  # noqa: PLC0415

    prepared = prepare(file)
    if data is not None:
        with in_duckdb(data) as tables:
            for note in check_systems(tables, prepared.definition, prepared.codes, prepared.located):
                console().print(f"note   {note}")
            question = question_of(prepared, tables)
    else:
        question = compile_question(prepared.definition, prepared.codes, _day(prepared))
    if sql:
        typer.echo(_in_dialect(question.funnel(), engine))
    else:
        typer.echo("\n".join(paraphrase(prepared.definition, question.asked.as_of)))
    tested = run_tests(prepared.definition, prepared.codes, question.asked.as_of)
    for test in tested:
        outcome = "passed" if test.passed else f"FAILED: expected {test.expected}, is {test.outcome}"
        console().print(f"test   {test.name}: {outcome}")
    if not all(test.passed for test in tested):
        raise typer.Exit(EXIT_REJECTED)


def _in_dialect(query: str, engine: Engine) -> str:
    if engine is Engine.DUCKDB:
        return query
    from insights.spark.dialect import to_spark  # noqa: PLC0415 -- sqlglot is of an extra

    return to_spark(query)


@app.command("run")
@command
def run(
    file: DefinitionFile,
    *,
    out: OutFolder,
    data: DataFolder = Path("data"),
    rows: Annotated[
        bool, typer.Option("--rows", help="Write rows about members too; needs purpose and approval, and is audited.")
    ] = False,
    identified: Annotated[
        bool, typer.Option("--identified", help="Rows with real ids, UIDs, dates and texts.")
    ] = False,
    file_format: Annotated[Format, typer.Option("--format", help="Format of the rows.")] = Format.CSV,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of the pseudonyms; without it one beside the data.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="`spark` queries the tables that `collect --engine spark` wrote.")
    ] = Engine.DUCKDB,
    overwrite: Overwrite = False,
) -> None:
    """
    Run a definition on collected data: the funnel, and with `--rows` rows about the members.

    Only counts are written unless `--rows` is given; counts below `DICOM_SYNC_MINIMUM_CELL` (11), and differences
    between steps below it, are hidden. Rows are de-identified: pseudonyms and shifted dates under a key, hashed UIDs,
    no free text, ages of 90 and above as one group. `manifest.json` names everything that the results depend on: the
    same input gives the same bytes. Output files: docs/cohorts.md.

    **Examples**

    - how many: `python -m sync cohort run osteosarcoma.yaml --data data --out result`

    - rows too: `python -m sync cohort run osteosarcoma.yaml --data data --out result --rows --format parquet`

    - by Spark: `python -m sync cohort run osteosarcoma.yaml --data parquet --out result --engine spark`

    **Exit codes**

    - 0: the results are written

    - 1: rows were asked for and may not leave: too few people, or no approval; nothing was written

    - 2: the definition, the data or a setting is wrong; nothing was written
    """
    from insights.cohort.run import Wanted  # noqa: PLC0415 -- loaded when the command runs
    from insights.cohort.run import run as run_definition  # noqa: PLC0415
    from insights.settings import InsightsSettings  # noqa: PLC0415

    wanted = Wanted(
        out=out,
        overwrite=overwrite,
        rows=rows or identified,
        identified=identified,
        format=file_format.value,
        key=key,
        minimum=InsightsSettings.load().minimum_cell,
    )
    if engine is Engine.SPARK:
        from insights.spark.tables import in_spark as opened  # noqa: PLC0415 -- of an extra
    else:
        from insights.cohort.engine import in_duckdb as opened  # noqa: PLC0415 -- loaded when the command runs
    said, _ = run_definition(file, data, wanted, opened=opened)
    typer.echo(said)
    console().print(f"written to {out}")


@app.command("dummy")
@command
def dummy(
    file: DefinitionFile,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for NDJSON files.", show_default=False)],
    per_branch: Annotated[int, typer.Option("--each", min=1, metavar="N", help="Patients of each branch.")] = 20,
) -> None:
    """
    Write synthetic patients for every branch of a definition, to try it without data.

    One group meets all criteria; for each criterion, one group fails only that one, and one cannot be decided on it.

    **Examples**

    - `python -m sync cohort dummy osteosarcoma.yaml --out dummy`, then `python -m sync collect data --ndjson dummy`

    **Exit codes**

    - 0: the files are written

    - 2: the definition is invalid, or the folder exists; nothing was written
    """
    from insights.cohort.examples import dummy as dummy_patients  # noqa: PLC0415 -- loaded when the command runs
    from insights.cohort.examples import write_ndjson  # noqa: PLC0415
    from insights.cohort.run import prepare  # noqa: PLC0415
    from insights.errors import CohortError  # noqa: PLC0415
    from insights.manifest import Manifest, write_manifest  # noqa: PLC0415

    prepared = prepare(file)
    if out.exists():
        raise CohortError(f"{out} exists", code="cohort.out_exists", hint="Choose another name.")
    day = _day(prepared)
    written = write_ndjson(out, dummy_patients(prepared.definition, prepared.codes, day, per_branch=per_branch))
    write_manifest(out, Manifest.of_day(day))
    console().print(", ".join(f"{count} {kind}" for kind, count in written.items()) + f" in {out}")


@app.command("diff")
@command
def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="Folder of results.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="B", help="Folder of later results.", show_default=False)],
) -> None:
    """
    List the differences between two results and between their inputs.

    **Examples**

    - `python -m sync cohort diff result-march result-june`

    **Exit codes**

    - 0: nothing differs

    - 1: something differs

    - 2: a folder has no results
    """
    from insights.cohort.compare import compare  # noqa: PLC0415 -- loaded when the command runs

    lines = compare(one, other)
    typer.echo("\n".join(lines or ["nothing differs"]))
    if lines:
        raise typer.Exit(EXIT_REJECTED)


@app.command("lock")
@command
def lock(
    file: DefinitionFile,
    *,
    terminology: Annotated[
        str, typer.Option(metavar="URL", help="FHIR R4 terminology server with SNOMED CT.", show_default=False)
    ],
) -> None:
    """
    Expand the ECL expressions of a definition once, into a lock file beside it.

    **Examples**

    - `python -m sync cohort lock lung.yaml --terminology https://terminology.example.org/fhir`

    **Exit codes**

    - 0: the lock file is written

    - 2: the definition is invalid, or the server refuses an expression

    - 3: the server did not answer
    """
    from insights.cohort.definition import read_definition  # noqa: PLC0415 -- loaded when the command runs
    from insights.cohort.terminology import expand  # noqa: PLC0415

    definition, located = read_definition(file)
    for ecl, count in expand(definition, located, terminology).items():
        console().print(f"{count} codes  {ecl}")


def _day(prepared: Prepared) -> date:
    """Return the day of a question without data."""
    return prepared.definition.as_of or datetime.now(UTC).date()

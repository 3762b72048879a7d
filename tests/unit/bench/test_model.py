"""``python -m bench model``: the simulation finds the limit that binds, and the page has its tables."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import history, model
from bench.__main__ import run
from bench.stations import BATCH, BATCHES_AT_ONCE, Limits, Load, simulate

PAGE = Path(__file__).parents[3] / "docs" / "scaling-and-cost.md"
AMPLE = Limits(queue=None, account=1e9, partition=1e9, fhir=1e9)
LOAD = Load(
    processor_seconds=0.01,
    round_trips=0.0,
    folder_rows=2,
    folder_partitions=2,
    study_rows=1,
    fhir_requests=3,
    instances=300,
    studies_at_once=20,
)


def outcome(workers=10, *, studies=100, load=LOAD, **limits):
    return simulate(replace(AMPLE, **limits), load, workers, studies=studies)


def test_the_page_has_the_tables_that_are_computed():
    assert model.tables() in PAGE.read_text("utf-8"), "run: python -m tests.docs.model_section"


def test_the_command_prints_the_tables(capsys):
    with pytest.raises(SystemExit) as ended:
        run(["model"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == model.tables()


@pytest.mark.parametrize(
    ("limits", "expected", "binding"),
    [
        ({}, 1000, "processors of the workers"),
        ({"queue": 500}, 500, "messages of one queue"),
        ({"account": 900}, 300, "rows of one storage account"),
        ({"fhir": 2}, 200, "FHIR service"),
        ({"partition": 20}, 400, "rows of one partition"),
    ],
)
def test_each_limit_binds_at_its_own_rate(limits, expected, binding):
    """Ten workers of 100 a second; three rows an instance; twenty studies at once, each with one ledger partition."""
    large = {"load": replace(LOAD, instances=1500)} if "partition" in limits else {}
    estimate = outcome(**large, **limits)
    assert estimate.rate == pytest.approx(expected, rel=0.1)
    assert estimate.binding == binding
    assert all(0 <= share <= 1.001 for share in estimate.busy.values())


def test_no_rate_is_above_any_limit_and_more_workers_are_never_slower():
    limits = {"queue": 700.0, "account": 1800.0, "partition": 200.0, "fhir": 5.0}
    rates = [outcome(workers, **limits).rate for workers in (1, 2, 4, 8, 16)]
    assert all(
        rate <= min(100 * workers, 700, 600, 500) * 1.01 for workers, rate in zip((1, 2, 4, 8, 16), rates, strict=True)
    )
    assert rates == sorted(rates)


def test_one_study_is_bound_by_its_partition_where_many_are_not():
    one = outcome(studies=1, load=replace(LOAD, studies_at_once=1, instances=12_000), partition=200)
    assert (one.binding, round(one.rate, -1)) == ("rows of one partition", 200)
    assert outcome(partition=200).binding == "processors of the workers"


def test_waiting_for_answers_costs_rate_only_with_too_few_batches_at_once():
    """Little's law: a worker has 128 messages on their way, so an answer within 1.28 s keeps its processor busy."""
    fits = BATCH * BATCHES_AT_ONCE * LOAD.processor_seconds
    assert outcome(load=replace(LOAD, round_trips=fits / 4)).rate > 950
    assert outcome(load=replace(LOAD, round_trips=fits * 4)).rate < 300


def test_the_counts_are_those_of_the_history_and_prices_those_of_the_file(monkeypatch):
    before = model.euros_a_million(model.EVENTS, 10, model.FHIR)
    line = history.newest()
    twice = {**line, "counts": {**line["counts"], "blob_reads": 2 * line["counts"]["blob_reads"]}}
    monkeypatch.setattr(history, "newest", lambda: twice)
    assert model.euros_a_million(model.EVENTS, 10, model.FHIR)["blobReads"] == pytest.approx(2 * before["blobReads"])
    prices = model.prices()
    monkeypatch.setattr(model, "prices", lambda: {**prices, "eurosEach": 2 * prices["eurosEach"]})
    assert model.euros_a_million(model.EVENTS, 10, model.FHIR)["events"] == pytest.approx(2 * before["events"])


def test_a_slow_fhir_service_binds_and_a_backfill_pays_for_waiting_workers():
    assert model.outcome(model.BACKFILL, 100, 5.0).binding == "FHIR service"
    slow, fast = (model.euros_a_million(model.BACKFILL, 100, fhir) for fhir in (5.0, 1000.0))
    assert slow["gigabyteSeconds"] > fast["gigabyteSeconds"]
    assert slow["blobReads"] == fast["blobReads"]

"""``python -m bench compare`` and the history: regressions are named, and floors move with machines."""

import json

import pytest

from bench import history
from bench.__main__ import run
from bench.regressions import Verdict, changes

CALLS, TIMES, RATES = "writes an instance", "processor an instance", "rows a second"


def goals(*, writes=0.3, took=10.0, floor=5.0, rate=1000.0, **more):
    return {
        "calls": {CALLS: {"measured": writes, "floor": 0.03, "at_most": 0.3, "unit": "", "tolerance": 0.1}},
        "scale": {
            TIMES: {"measured": took, "floor": floor, "at_most": 5, "unit": " ms", "tolerance": 0.3},
            RATES: {"measured": rate, "at_least": 10, "unit": "", "tolerance": 0.3},
        },
        **more,
    }


def verdicts(old, new, tolerance=None):
    return {change.what: change.verdict for change in changes(old, new, tolerance)}


def test_the_same_run_has_no_regression():
    assert set(verdicts(goals(), goals()).values()) == {Verdict.SAME}


@pytest.mark.parametrize(
    ("what", "worse", "better", "within"),
    [
        (CALLS, {"writes": 0.34}, {"writes": 0.2}, {"writes": 0.32}),
        (TIMES, {"took": 13.5}, {"took": 6.0}, {"took": 12.5}),
        (RATES, {"rate": 600}, {"rate": 1400}, {"rate": 750}),
    ],
)
def test_a_figure_is_worse_beyond_its_tolerance_in_its_own_direction(what, worse, better, within):
    assert verdicts(goals(), goals(**worse))[what] is Verdict.REGRESSION
    assert verdicts(goals(), goals(**better))[what] is Verdict.BETTER
    assert verdicts(goals(), goals(**within))[what] is Verdict.SAME
    assert verdicts(goals(), goals(**within), tolerance=0.0)[what] is not Verdict.SAME


def test_a_time_is_compared_by_its_floor_and_a_count_is_not():
    """A machine that is half as fast takes twice the time for both; a count of requests has no such excuse."""
    assert verdicts(goals(), goals(took=20.0, floor=10.0))[TIMES] is Verdict.SAME
    assert verdicts(goals(), goals(took=10.0, floor=2.5))[TIMES] is Verdict.REGRESSION
    fewer = goals()
    fewer["calls"][CALLS]["floor"] = 0.06
    assert verdicts(fewer, goals(writes=0.6))[CALLS] is Verdict.REGRESSION


def test_what_only_one_run_measured_is_no_regression():
    more = goals(pages={"slowest": {"measured": 5.0, "at_most": 9, "unit": " ms"}})
    assert verdicts(goals(), more)["slowest"] is Verdict.NEW
    assert verdicts(more, goals())["slowest"] is Verdict.GONE


def test_from_nothing_to_something_is_a_regression():
    assert verdicts(goals(writes=0.0), goals(writes=0.01))[CALLS] is Verdict.REGRESSION
    assert verdicts(goals(writes=0.0), goals(writes=0.0))[CALLS] is Verdict.SAME


def release(version, **figures):
    return {"version": version, "counts": {}, "goals": goals(**figures)}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A history of two releases, in place of the real one."""
    file = tmp_path / "history.json"
    history.write([release("1.0"), release("1.1", writes=0.5)], file)
    monkeypatch.setattr(history.find, "__defaults__", (file,))
    return file


@pytest.mark.parametrize(("old", "new", "status"), [("1.0", "1.1", 1), ("1.1", "1.0", 0), ("1.0", "0.9", 2)])
def test_the_exit_status_tells_a_regression(kept, capsys, old, new, status):
    with pytest.raises(SystemExit) as ended:
        run(["compare", old, new])
    assert ended.value.code == status
    assert ("regression: calls: writes an instance: 0.3 -> 0.5" in capsys.readouterr().out) == (status == 1)
    assert len(kept.read_text().splitlines()) == 4  # a line each, and the brackets


def test_files_of_results_are_compared_too(kept, tmp_path):
    said = {"what": CALLS, "measured": 0.3, "at_most": 0.3, "unit": "", "met": True, "tolerance": 0.1}
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"calls": {"goals": [said], "figures": {}, "quick": False}}))
    assert verdicts(history.find("1.1"), history.find(str(results)))[CALLS] is Verdict.BETTER
    with pytest.raises(SystemExit) as ended:
        run(["compare", str(results), str(kept)])
    assert ended.value.code == 2


def test_the_history_of_this_project_can_be_compared_and_counts():
    versions = [line["version"] for line in history.lines()]
    assert versions
    assert len(versions) == len(set(versions))
    assert history.HISTORY.read_text("utf-8").count("\n") == len(versions) + 2
    for version in versions:
        assert not [one for one in changes(history.find(version), history.find(version)) if one.worse]
    assert history.newest()["counts"].keys() >= {"blob_reads", "writes", "rows_written", "processor_ms"}


def test_a_note_says_what_else_changed_and_comparing_shows_it(tmp_path, monkeypatch, capsys):
    file = tmp_path / "history.json"
    [line] = [line for line in history.lines() if line["version"] == "0.1.0"]
    history.write([line, {**line, "version": "0.2.0", "note": "a faster emulator"}], file)
    monkeypatch.setattr(history.lines, "__defaults__", (file,))
    monkeypatch.setattr(history.find, "__defaults__", (file,))
    monkeypatch.setattr(history.notes, "__defaults__", (file,))
    with pytest.raises(SystemExit) as ended:
        run(["compare", "0.1.0", "0.2.0"])
    assert ended.value.code == 0
    assert "0.2.0: a faster emulator" in capsys.readouterr().out


def section_of(took):
    goals_of = [
        {"what": what, "measured": 1.0, "at_most": 1, "unit": "", "met": True, "tolerance": 0.1}
        for what in ("blob reads an instance", "table reads an instance", "table and queue writes an instance")
    ]
    figures = {
        "instances": 300,
        "rows_written_an_instance": 3,
        "fhir_requests": 3,
        "processor_ms_an_instance_large": 4,
        "peak_mb_large": 130,
    }
    machine = {"processor": "one", "cores": 2}
    return {
        "quick": False,
        "when": "2026-01-01",
        "took_seconds": took,
        "machine": machine,
        "goals": goals_of,
        "figures": figures,
    }


def test_a_line_tells_how_long_measuring_took_and_the_note():
    results = {name: section_of(took) for name, took in zip(history.COUNTED, (50, 60, 0), strict=True)}
    line = history.line_of("1.0", results, "a faster emulator")
    assert (line["took_seconds"], line["note"]) == (110, "a faster emulator")
    assert "note" not in history.line_of("1.0", results)


def test_a_line_needs_what_is_counted():
    section = {"quick": False, "when": "2026-01-01", "goals": [], "figures": {}}
    with pytest.raises(history.BenchError, match="scale, memory"):
        history.line_of("1.0", {"calls": section})

"""``python -m bench [SECTION…]``: sections are measured in turn, written at once, and told from those that were not."""

import json

import pytest

import bench.__main__ as program
from bench import goals, latency
from bench.goals import Goal, Section
from bench.worlds import BenchError

Name = program.Name


def section(name):
    return Section(name=name, how="as said", goals=[Goal(what="one", measured=1, bound=2)])


def fails(*_):
    raise BenchError("it did not arrive")


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Sections that are measured at once; return how to replace one, and what was written."""
    results = tmp_path / "results.json"
    monkeypatch.setattr(goals, "RESULTS", results)
    for name in Name:
        monkeypatch.setitem(program.SECTIONS, name, lambda *_, name=name: section(name.value))
    monkeypatch.setattr(latency, "begin_slow", lambda **_: None)

    def run(*words, **replaced):
        for name, measure in replaced.items():
            monkeypatch.setitem(program.SECTIONS, Name(name), measure)
        with pytest.raises(SystemExit) as ended:
            program.run(words)
        return ended.value.code, json.loads(results.read_text()) if results.exists() else {}

    return run


def test_all_sections_are_measured_and_written_with_their_seconds(measured):
    status, results = measured()
    assert status == 0
    assert set(results) == set(Name)
    assert all("took_seconds" in one for one in results.values())


def test_a_section_that_cannot_be_measured_ends_no_other(measured, capsys):
    status, results = measured("calls", "cast", "large", cast=fails)
    assert status == 1
    assert set(results) == {"calls", "large"}
    assert "cast could not be measured: it did not arrive" in capsys.readouterr().err


def test_an_interrupted_run_keeps_what_was_measured_and_names_the_rest(measured, capsys):
    status, results = measured("calls", "cast", "large", cast=interrupted)
    assert status == 130
    assert set(results) == {"calls"}
    assert "not measured cast, large" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "begun"), [(["rest", "latency"], 1), (["rest"], 0), (["latency"], 0)])
def test_the_slow_acquisition_begins_beside_sections_that_only_count(measured, monkeypatch, words, begun):
    calls = []
    monkeypatch.setattr(latency, "begin_slow", lambda **how: calls.append(how))
    measured(*words)
    assert len(calls) == begun


def test_help_names_every_section_and_command(measured, capsys):
    status, _ = measured("--help")
    said = capsys.readouterr().out
    assert status == 0
    assert all(f"{name}:" in said for name in Name)
    assert all(f"python -m bench {command}" in said for command in program.COMMANDS)


@pytest.mark.parametrize("command", program.COMMANDS)
def test_help_of_a_command_shows_how_it_is_typed(command, measured, capsys):
    status, _ = measured(command, "--help")
    assert status == 0
    assert f"python -m bench {command}" in capsys.readouterr().out

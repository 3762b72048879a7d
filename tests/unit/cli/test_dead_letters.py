"""``python -m sync dead-letters``: results, exit codes, and that it never guesses which letters are meant."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from sync.cli import app
from sync.cli import dead_letters as command
from sync.errors import FhirRejected
from sync.protocol.dead_letters import dead_letter_study
from tests.unit.cli.in_process import runs_on
from tests.worlds import SOURCES, STUDY, UNREADABLE, MemoryWorld


@pytest.fixture
def w(monkeypatch):
    world = MemoryWorld()
    runs_on(monkeypatch, command, services=world.services, sources=SOURCES)
    return world


def do(*words):
    return CliRunner().invoke(app, ["dead-letters", *words], env={"COLUMNS": "200"})


def bad_object(w, name="Doe-Jane.dcm"):
    asyncio.run(w.arrive(name, UNREADABLE))
    return str(w.ref(name).key)


def test_without_letters_the_list_is_empty_and_all_is_well(w):
    done = do("list", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"total": 0, "counted_at": None, "by_code": {}})


@pytest.mark.parametrize(
    ("words", "told"),
    [(("list",), "No dead letters."), (("list", "--code", "fhir.rejected"), "No dead letters of fhir.rejected.")],
)
def test_that_there_are_none_is_said_in_words_and_no_table_is_empty(w, words, told):
    done = do(*words)
    assert (done.exit_code, done.stdout, done.stderr.strip()) == (0, "", told)
    assert json.loads(do(*words, "--json").stdout), "a script gets its object"


@pytest.mark.parametrize(
    "words", [("list",), ("retry",), ("retry", "--dry-run"), ("discard", "--why", "typed in a hurry")]
)
def test_a_code_that_does_not_exist_is_refused_with_the_one_that_was_meant(w, words):
    bad_object(w)
    done = do(*words, "--code", "header.not_dcm")
    assert done.exit_code == 2
    assert "did you mean header.not_dicom?" in done.stderr
    assert do("list", "--code", "zzz").exit_code == 2
    assert do("list", "--code", "fhir.rejected").exit_code == 0, "a code without dead letters"


def test_the_list_shows_codes_and_what_to_do_and_no_name(w):
    bad_object(w)
    done = do("list")
    assert done.exit_code == 1
    assert "header.not_dicom" in done.stdout
    assert "Replace or delete" in done.stdout
    assert "Doe" not in done.stdout


def test_the_list_of_a_code_shows_its_letters(w):
    keys = {bad_object(w, name) for name in "abc"}
    assert {
        one["subject"] for one in json.loads(do("list", "--code", "header.not_dicom", "--json").stdout)["letters"]
    } == keys
    assert len(json.loads(do("list", "--code", "header.not_dicom", "--limit", "2", "--json").stdout)["letters"]) == 2


def test_keys_and_codes_are_whole_on_a_narrow_terminal_for_they_are_typed_next(w):
    key = bad_object(w)
    narrow = {"COLUMNS": "60"}
    assert key in CliRunner().invoke(app, ["dead-letters", "list", "--code", "header.not_dicom"], env=narrow).stdout
    assert "header.not_dicom" in CliRunner().invoke(app, ["dead-letters", "list"], env=narrow).stdout


def test_one_is_shown_without_its_name_unless_asked_for(w):
    key = bad_object(w)
    done = do("show", "object", key)
    assert (done.exit_code, "header.not_dicom" in done.stdout, "Doe" in done.stdout) == (0, True, False)
    assert "memory/dicom/Doe-Jane.dcm" in do("show", "object", key, "--secrets").stdout


def test_one_that_is_not_there_is_said_so(w):
    assert do("show", "object", "a.b").exit_code == 1


def test_a_retry_asks_for_another_look(w):
    key = bad_object(w)
    done = do("retry", "object", key, "--json")
    assert (done.exit_code, json.loads(done.stdout)["outcomes"]) == (0, {"asked": 1})
    assert len(w.store.object_queue.messages) == 1


def test_a_dry_run_says_how_many_and_does_nothing(w):
    bad_object(w)
    asyncio.run(dead_letter_study(STUDY, FhirRejected("422"), w.services))
    done = do("retry", "--all", "--dry-run")
    assert (done.exit_code, done.stdout.count("would be asked")) == (0, 2)
    assert w.store.object_queue.messages == []


def test_what_cannot_be_retried_shows_in_the_exit_code(w):
    from sync.delivery.handlers import handle_object_message

    asyncio.run(handle_object_message("no event", SOURCES, w.services))
    done = do("retry", "--all")
    assert (done.exit_code, "refused" in done.stdout) == (1, True)


def test_a_discard_leaves_a_trail(w):
    bad_object(w)
    done = do("discard", "--all", "--why", "not ours", "--as", "Jane")
    assert (done.exit_code, w.dead_letters()) == (0, [])
    (entry,) = asyncio.run(w.store.audit.newest(9))
    assert (entry.who, entry.why) == ("Jane", "not ours")


@pytest.mark.parametrize("given", [[], ["--as", ""], ["--as", " "], ["--as", "Ada"]])
@pytest.mark.parametrize("words", ["discard --all --why typo", "retry --all", "show object KEY --secrets"])
def test_an_action_is_by_the_user_of_this_machine_unless_said_otherwise(w, monkeypatch, words, given):
    monkeypatch.setenv("LOGNAME", "jane")
    key = bad_object(w)
    assert do(*words.replace("KEY", key).split(), *given).exit_code == 0
    assert [entry.who for entry in asyncio.run(w.store.audit.newest(9))] == ["Ada" if "Ada" in given else "jane"]


@pytest.mark.parametrize(
    "words",
    [
        ["retry", "--code", "a.b", "--all"],
        ["retry", "object"],
        ["retry", "object", "a.b", "--all"],
        ["retry", "--dry-run"],
        ["retry", "patient", "a.b"],
        ["discard", "--all"],
        ["discard", "--all", "--why", " "],
        ["discard", "--why", "x"],
        ["list", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_does_nothing(w, words):
    bad_object(w)
    assert do(*words).exit_code == 2
    assert w.dead_letters() == [("object", "header.not_dicom")]
    assert w.store.object_queue.messages == []

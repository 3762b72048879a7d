"""The command where: source objects by study, series or instance, from the ledger alone."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sync.cli import app
from sync.model import StudyRef
from tests.worlds import MemoryWorld

RUNNER = CliRunner()
STUDY, OTHER = "2.25.100", "2.25.200"


@pytest.fixture
def world(monkeypatch):
    world = MemoryWorld()
    running = SimpleNamespace(services=world.services)
    monkeypatch.setattr("sync.cli.show_where.with_services", lambda work: asyncio.run(work(running)))
    asyncio.run(world.arrive("Müller/a 1.dcm", study=STUDY, series="2.25.101", sop="2.25.102"))
    asyncio.run(world.arrive("Müller/b.dcm", study=STUDY, series="2.25.103", sop="2.25.104"))
    asyncio.run(world.arrive("copy.dcm", study=STUDY, series="2.25.103", sop="2.25.104"))
    asyncio.run(world.arrive("c.dcm", study=OTHER, series="2.25.201", sop="2.25.202"))
    return world


def names(*arguments):
    done = RUNNER.invoke(app, ["where", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line)["name"] for line in done.stdout.splitlines()]


def test_a_study_a_series_and_an_instance_are_found_with_all_their_objects(world):
    assert names(STUDY) == ["Müller/a 1.dcm", "Müller/b.dcm", "copy.dcm"]
    assert names("2.25.103") == ["Müller/b.dcm", "copy.dcm"]
    assert names("2.25.202") == ["c.dcm"]
    assert names("2.25.102", "--study", STUDY) == ["Müller/a 1.dcm"]


def test_a_line_names_instance_account_container_and_name(world):
    done = RUNNER.invoke(app, ["where", "2.25.202"])
    ref = next(ref for ref in world.store.objects.refs() if ref.name == "c.dcm")
    assert done.stdout == f"2.25.202  {ref.account}/{ref.container}/c.dcm\n"


def test_of_another_study_or_partition_nothing_is_found(world):
    for arguments in (("2.25.102", "--study", OTHER), (STUDY, "--partition", "p"), ("2.25.404",)):
        done = RUNNER.invoke(app, ["where", *arguments])
        assert (done.exit_code, done.stdout) == (1, "")
        assert "unknown" in done.stderr


def test_an_object_that_is_gone_is_no_longer_shown(world):
    asyncio.run(world.go("copy.dcm"))
    assert names("2.25.104") == ["Müller/b.dcm"]


def test_an_object_that_moves_to_another_study_is_not_shown_in_its_old_one(world):
    before = asyncio.run(world.services.ledger.read(StudyRef(study_instance_uid=OTHER)))
    asyncio.run(world.arrive("c.dcm", study=STUDY, series="2.25.101", sop="2.25.202"))
    asyncio.run(world.services.ledger.upsert(before[0]))  # its move is not done yet
    done = RUNNER.invoke(app, ["where", "2.25.202", "--json"])
    assert [json.loads(line)["study"] for line in done.stdout.splitlines()] == [STUDY]


def test_the_audit_trail_has_who_asked_and_no_uid(world):
    names(STUDY)
    [entry] = asyncio.run(world.services.audit.newest(1))
    assert (entry.action, bool(entry.who), STUDY in entry.subject) == ("source.where", True, False)


@pytest.mark.parametrize("arguments", [("not a uid",), ("2.25.1", "--study", "no uid")])
def test_what_is_no_uid_is_refused(arguments):
    assert RUNNER.invoke(app, ["where", *arguments]).exit_code == 2


def test_the_help_tells_examples_and_exit_codes():
    told = RUNNER.invoke(app, ["where", "--help"]).output
    assert "Examples" in told
    assert "Exit codes" in told

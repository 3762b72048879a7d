"""Exports into a folder: one command at a time, and a full disk is told as such."""

import asyncio
import errno
from types import SimpleNamespace

import pytest
import typer

from sync.adapters.file_locks import held
from sync.cli import export_all
from sync.export import LOCK
from sync.model.exports import MANIFEST, UNFINISHED


def run(folder):
    export_all.export(folder=folder, container="", max_mb=1, overwrite=True, who="", as_json=False)


@pytest.fixture
def connected(monkeypatch):
    """Give the command services; each test says what of them it needs."""
    monkeypatch.setattr(export_all, "with_services", lambda work: asyncio.run(work(SimpleNamespace(services=None))))


@pytest.mark.parametrize("code", [2, 3], ids=["a wrong setting", "no answer"])
def test_an_earlier_export_stays_until_the_storage_has_answered(tmp_path, monkeypatch, code):
    """With --overwrite it was deleted first, though nothing could replace it; a new folder was left empty."""

    def unanswered(_):
        raise typer.Exit(code)

    monkeypatch.setattr(export_all, "with_services", unanswered)
    (tmp_path / "Patient-0001.ndjson").write_text("{}")
    (tmp_path / MANIFEST).write_text("{}")
    before = sorted(tmp_path.iterdir())
    for folder in (tmp_path, tmp_path / "new" / "one"):
        with pytest.raises(typer.Exit):
            run(folder)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("connected")
def test_a_second_command_is_refused_and_leaves_the_files_of_the_first(tmp_path, capsys):
    """It deleted the files of the first, or ended in a traceback at one that the first was writing."""
    begun = tmp_path / "Patient-0001.ndjson.part"
    with held(tmp_path / LOCK):
        begun.touch()
        with pytest.raises(typer.Exit) as refused:
            run(tmp_path)
    assert refused.value.exit_code == 2
    assert capsys.readouterr().err == f"another process writes it: {tmp_path}\n"
    assert begun.exists()


@pytest.mark.usefixtures("connected")
def test_a_full_disk_is_that_of_the_folder(tmp_path, capsys, monkeypatch):
    async def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_all, "export_to", full)
    with pytest.raises(typer.Exit) as refused:
        run(tmp_path)
    assert refused.value.exit_code == 2
    assert capsys.readouterr().err == f"No space left on device: {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED], "it is no export"

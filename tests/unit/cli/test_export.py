"""Exports into a folder: one command at a time, and a full disk is told as such."""

import errno

import pytest
import typer

from sync.adapters.file_locks import held
from sync.cli import export_all
from sync.export import LOCK
from sync.model.exports import UNFINISHED


def run(folder):
    export_all.export(folder=folder, container="", max_mb=1, overwrite=True, who="", as_json=False)


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


def test_a_full_disk_is_that_of_the_folder(tmp_path, capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_all, "with_services", full)
    with pytest.raises(typer.Exit) as refused:
        run(tmp_path)
    assert refused.value.exit_code == 2
    assert capsys.readouterr().err == f"No space left on device: {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED], "it is no export"

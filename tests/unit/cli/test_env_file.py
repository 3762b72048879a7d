"""Settings from a file, completion without loading commands, and a standard output that takes no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sync.cli.env_file import read_env_file

FULL = Path("/dev/full")


def run(*arguments, **more):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **more)


def test_a_file_sets_what_the_environment_does_not(tmp_path, monkeypatch):
    file = tmp_path / "world.env"
    file.write_text("# a world\nexport DICOM_SYNC_ONE='a=b $HOME'\nDICOM_SYNC_TWO=file\n\nDICOM_SYNC_THREE\n")
    monkeypatch.setattr(os, "environ", {"DICOM_SYNC_TWO": "shell"})
    read_env_file(file)
    assert os.environ == {"DICOM_SYNC_ONE": "a=b $HOME", "DICOM_SYNC_TWO": "shell"}


def test_a_line_that_is_no_setting_is_refused_by_its_number_and_its_text_is_not_shown(tmp_path, monkeypatch):
    file = tmp_path / "world.env"
    file.write_text("DICOM_SYNC_ONE=1\n\nDICOM_SYNC_EVENTS_KEY s3cr3t\n")
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(typer.BadParameter, match=r"world.env, line 3: expected NAME=value$"):
        read_env_file(file)
    assert os.environ == {}


def test_the_option_reaches_the_command(tmp_path):
    file = tmp_path / "wrong.env"
    file.write_text("DICOM_SYNC_FHIR_URL=http://localhost:1\nDICOM_SYNC_QUIET_PERIOD=soon\nDICOM_SYNC_OPERATORS=all\n")
    bare = {"PATH": os.environ["PATH"]}
    done = run("-m", "sync", "--env-file", str(file), "config", "check", env=bare, cwd=Path(__file__).parents[3])
    assert done.returncode == 1
    assert "DICOM_SYNC_QUIET_PERIOD expected a number" in done.stderr
    assert "DICOM_SYNC_OPERATORS expected none, key or entra" in done.stderr
    assert "Input should" not in done.stderr


def test_completion_names_commands_without_loading_their_modules():
    asked = {"_DICOM_FHIR_SYNC_COMPLETE": "complete_bash", "COMP_WORDS": "dicom-fhir-sync ", "COMP_CWORD": "1"}
    script = (
        "import sys\nfrom sync.__main__ import run\ntry:\n    run()\nfinally:\n"
        "    print(*(n for n in sys.modules if n.startswith('sync.cli.')), file=sys.stderr)"
    )
    done = run("-c", script, env={**os.environ, **asked}, cwd=Path(__file__).parents[3])
    assert {"status", "replay", "dead-letters"} <= set(done.stdout.split())
    assert "sync.cli.replay" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("command", [["--help"], ["--version"], ["config", "check", "--json"]])
def test_a_full_disk_is_one_line_and_an_exit_code(command):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sync", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
        )
    assert done.returncode == 74
    assert done.stderr == "standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "command", "code"),
    [
        (1, "--version", 74),
        (1, "alerts export", 74),
        (1, "config check", 1),
        (2, "--version", 0),
        (2, "config check", 1),
    ],
)
def test_a_closed_stream_is_no_traceback(closed, command, code):
    script = f'exec "{sys.executable}" -m sync {command} {closed}>&-'
    bare = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=False, env=bare, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("standard output: Bad file descriptor" in done.stderr) == (code == 74)


def test_characters_that_the_encoding_lacks_are_escaped():
    ascii_only = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}
    done = run("-m", "sync", "map", "--help", env=ascii_only, cwd=Path(__file__).parents[3])
    assert done.returncode == 0
    assert "\\u2022" in done.stdout

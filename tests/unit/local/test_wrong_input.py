"""What is typed wrong to the local world is told in a line, before anything starts where that can be."""

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from local.__main__ import app
from local.demo import Demonstration
from local.processes import StartError


@pytest.mark.parametrize("command", ["up", "demo"])
def test_what_is_no_server_is_wrong_usage(command):
    told = CliRunner().invoke(app, [command, "--fhir", "hapy"], env={"COLUMNS": "200"})
    assert told.exit_code == 2
    assert "expected embedded, embedded-azure, hapi, or the base URL" in told.stderr


@pytest.mark.parametrize("command", ["up", "demo", "dicom-service"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_what_is_no_port_is_wrong_usage(command, port):
    told = CliRunner().invoke(app, [command, "--port", port], env={"COLUMNS": "200"})
    assert told.exit_code == 2
    assert "Invalid value for '--port'" in told.stderr


@pytest.mark.parametrize("command", ["samples", "clinical"])
def test_a_folder_that_takes_no_file_is_told_in_a_line(command, tmp_path):
    (tmp_path / "file").touch()
    told = CliRunner().invoke(app, [command, str(tmp_path / "file" / "below")])
    assert (told.exit_code, len(told.stderr.splitlines())) == (1, 1)
    assert "Not a directory" in told.stderr


def test_a_port_that_is_taken_is_told_with_what_to_give():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = CliRunner().invoke(app, ["dicom-service", "--port", str(taken.getsockname()[1])])
    assert (told.exit_code, told.stderr) == (1, "the port is taken; give another --port, or 0 for a free one\n")


def test_a_demo_whose_fhir_server_does_not_answer_says_why(tmp_path):
    world = SimpleNamespace(addresses=SimpleNamespace(fhir="http://127.0.0.1:1/fhir"))
    show = Demonstration(once=True, log=Path(tmp_path / "demo.log"))
    with pytest.raises(StartError, match=r"http://127.0.0.1:1/fhir took no records: the connection was refused"):
        asyncio.run(show.run(world))

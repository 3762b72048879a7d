"""The tutorial of cohorts, typed as it stands, and what it says one will see."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sync.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cohorts.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def lines():
    return [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


def typed(line, folder):
    words = shlex.split(line.partition(" #")[0].replace(".local/", f"{folder}/").replace("DIR", f"{folder}/dummy"))
    words = [f"{folder}/{word}" if word in ("data", "result", "rows") else word for word in words]
    words = [str(ROOT / word) if word.startswith("docs/") else word for word in words]
    assert words[:3] == ["python", "-m", "sync"]
    return CliRunner().invoke(app, words[3:], catch_exceptions=False)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, {line: typed(line, folder) for line in lines()}


def test_every_command_ends_well(session):
    _, results = session
    assert {line: result.exit_code for line, result in results.items()} == dict.fromkeys(results, 0)


def test_it_says_what_the_page_shows(session):
    _, results = session
    said = "".join(result.output for result in results.values())
    for language, block in BLOCKS:
        if not language:
            assert block in said


def test_a_mistake_is_named_as_the_page_names_it(tmp_path, monkeypatch):
    example = Path("docs/examples/osteosarcoma.yaml")
    monkeypatch.chdir(tmp_path)
    example.parent.mkdir(parents=True)
    example.write_text((ROOT / example).read_text("utf-8").replace("{over: ", "{ovr: "), "utf-8")
    result = CliRunner().invoke(app, ["cohort", "check", str(example)])
    (shown,) = re.findall(r"`(cohort\.invalid: .*)`", PAGE)
    assert shown in " ".join(result.output.split())
    assert result.exit_code == 2


def test_every_file_that_the_page_names_is_written(session):
    folder, _ = session
    named = re.findall(r"^\| (`.*) \|", PAGE.partition("## What a definition can contain")[0], re.MULTILINE)
    stems = {Path(name).stem for cell in named for name in re.findall(r"`([\w.]+)`", cell.partition("|")[0])}
    assert stems == {file.stem for file in (folder / "rows").iterdir()}


def test_the_definition_of_the_page_is_that_of_the_example():
    example = (ROOT / "docs" / "examples" / "osteosarcoma.yaml").read_text("utf-8")
    without_comments = re.sub(r" +#.*", "", example)
    for block in (block for language, block in BLOCKS if language == "yaml"):
        assert block in without_comments

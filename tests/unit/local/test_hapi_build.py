"""HAPI is built once and whole, or not at all, and a missing tool is named."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.hapi import JAR, built_folder, ensure_built, missing_tools
from local.processes import StartError

BUILDS = f'echo built >> "$0.log"; sleep 0.2; mkdir -p target/lib; touch target/{JAR} target/lib/one.jar'


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Put programs on the path, and only these beside the system's `sh`, `mkdir`, `sleep` and `touch`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "sleep", "touch"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    def add(name, script):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return add


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_without_java_and_maven_both_are_named_with_the_way_to_get_them(tools, cache):
    with pytest.raises(StartError, match=r"JDK 17.*Maven.*apt-get install"):
        ensure_built(cache)
    assert not built_folder(cache).exists()


@pytest.mark.parametrize(("says", "enough"), [("11.0.2", False), ("1.8.0_392", False), ("17.0.15", True), ("25", True)])
def test_a_compiler_must_be_new_enough(tools, says, enough):
    tools("javac", f"echo javac {says}")
    tools("mvn", "")
    assert (missing_tools() == []) is enough


def test_what_maven_said_is_told_and_nothing_half_built_stays(tools, cache):
    tools("javac", "echo javac 17.0.15")
    tools("mvn", "mkdir target; echo no such artifact; exit 1")
    with pytest.raises(StartError, match="no such artifact"):
        ensure_built(cache)
    assert [path.name for path in cache.iterdir()] == ["hapi.lock"]


def test_of_several_that_ask_at_once_one_builds_and_all_get_the_whole(tools, cache):
    tools("javac", "echo javac 17.0.15")
    maven = tools("mvn", BUILDS)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(ensure_built, [cache] * 4))
    assert folders == {built_folder(cache)}
    assert (built_folder(cache) / "lib" / "one.jar").exists()
    assert (built_folder(cache) / JAR).exists()
    assert maven.with_name("mvn.log").read_text() == "built\n"

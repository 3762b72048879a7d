"""Collecting: the same tables whatever the way to them, and nothing half-written."""

import json
import random
import stat
import subprocess
import sys

import pytest

from insights.collect import Store
from insights.collect.staging import STAGE, stage
from insights.errors import CollectError, DataError, InsightsError
from insights.views.reader import connect
from tests.insights.collected import catalogue, collect, tables, write

SCT = "http://snomed.info/sct"


def patient(number, version="1", **more):
    meta = {"versionId": version, "lastUpdated": "2026-06-30T10:00:00Z"}
    return {"resourceType": "Patient", "id": f"p{number}", "meta": meta, "birthDate": "1970-01", **more}


def condition(number, patient_number, *codes, version="1"):
    coding = [{"system": SCT, "code": code} for code in codes]
    return {
        "resourceType": "Condition",
        "id": f"c{number}",
        "meta": {"versionId": version},
        "subject": {"reference": f"Patient/p{patient_number}"},
        "code": {"coding": coding},
    }


def test_a_coding_a_row_and_uncoded_ones_too(tmp_path):
    collect(tmp_path / "d", write(tmp_path / "in", patient(1), condition(1, 1, "a", "b"), condition(2, 1)))
    with Store(tmp_path / "d").reading(catalogue()) as reading:
        rows = reading.connection.execute("SELECT id, patient_id, code FROM condition ORDER BY id, code").fetchall()
    assert rows == [("c1", "p1", "a"), ("c1", "p1", "b"), ("c2", "p1", None)]


def test_every_view_has_a_table_even_when_there_are_no_resources(tmp_path):
    collect(tmp_path / "d", write(tmp_path / "in", patient(1)))
    assert set(catalogue().views) | {"_resource", "_sum"} == set(tables(tmp_path / "d"))


def test_names_are_nowhere_in_the_folder(tmp_path):
    named = patient(1, name=[{"family": "SENTINELNAME"}], address=[{"city": "SENTINELCITY"}])
    collect(tmp_path / "d", write(tmp_path / "in", named))
    for file in (tmp_path / "d").iterdir():
        assert b"SENTINEL" not in file.read_bytes()


def test_the_folder_is_its_owners_only(tmp_path):
    collect(tmp_path / "d", write(tmp_path / "in", patient(1)))
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "d" / "tables.duckdb").stat().st_mode) == 0o600


@pytest.mark.parametrize("seed", range(5))
def test_a_refresh_gives_the_tables_of_a_full_build(tmp_path, seed):
    chance = random.Random(seed)
    world = {f"Patient/p{n}": patient(n) for n in range(30)}
    world |= {f"Condition/c{n}": condition(n, chance.randrange(30), "a") for n in range(60)}
    collect(tmp_path / "refreshed", write(tmp_path / "in0", *world.values()))
    for step in range(1, 4):
        deleted = chance.sample(sorted(world), 5)
        for reference in deleted:
            del world[reference]
        changed = [
            condition(chance.randrange(80), chance.randrange(30), "b", "c", version=str(step + 1)) for _ in range(9)
        ]
        changed = list({resource["id"]: resource for resource in changed}.values())
        gone = [
            reference
            for reference in deleted
            if reference.removeprefix("Condition/") not in {one["id"] for one in changed}
        ]
        world |= {f"Condition/{resource['id']}": resource for resource in changed}
        delta = write(tmp_path / f"in{step}", *changed, deleted=tuple(gone))
        built = collect(tmp_path / "refreshed", delta, refresh=True)
    whole = collect(tmp_path / "whole", write(tmp_path / "all", *world.values()))
    assert tables(tmp_path / "refreshed") == tables(tmp_path / "whole")
    assert built.known.data_version == whole.known.data_version
    assert built.known.resources == whole.known.resources


def test_the_data_version_is_of_the_sorted_resources(tmp_path):
    here = collect(tmp_path / "a", write(tmp_path / "in1", patient(1), patient(2)))
    there = collect(tmp_path / "b", write(tmp_path / "in2", patient(2), patient(1)))
    other = collect(tmp_path / "c", write(tmp_path / "in3", patient(1), patient(2, version="2")))
    assert here.known.data_version == there.known.data_version != other.known.data_version


def test_of_two_versions_the_latest_wins(tmp_path):
    source = write(tmp_path / "in", patient(1, version="10", gender="male"), patient(1, version="9", gender="female"))
    built = collect(tmp_path / "d", source)
    assert built.known.resources == {"Patient": 1}
    assert tables(tmp_path / "d")["patient"][0][2] == "male"


def test_without_version_ids_changed_content_changes_the_data_version(tmp_path):
    one, other = patient(1), patient(1, gender="male")
    del one["meta"], other["meta"]
    here = collect(tmp_path / "a", write(tmp_path / "in1", one)).known
    there = collect(tmp_path / "b", write(tmp_path / "in2", other)).known
    assert here.data_version != there.data_version


BAD = {
    "torn": ('{"resourceType": "Patient", "id": "p1"}\n{"resourceType": "Patient", "id": "p', "data.malformed", ":2:"),
    "no json": ('{"resourceType": "Patient", "id": "p1"}\nhello\n', "data.malformed", ":2:"),
    "other type": ('{"resourceType": "Group", "id": "g1"}\n', "data.mixed_types", "Patient.ndjson"),
    "no id": ('{"resourceType": "Patient"}\n', "data.no_id", "Patient.ndjson"),
    "wrong value": ('{"resourceType": "Patient", "id": "p1", "active": "SENTINEL"}\n', "data.malformed", ":1:"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_and_leave_the_former_tables(tmp_path, name):
    text, code, place = BAD[name]
    before = collect(tmp_path / "d", write(tmp_path / "good", patient(1)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "Patient.ndjson").write_text(text, "utf-8")
    for refresh in (False, True):
        with pytest.raises(DataError) as problem:
            collect(tmp_path / "d", tmp_path / "bad", refresh=refresh)
        assert problem.value.code == code
        assert place in problem.value.message
        assert "SENTINEL" not in str(problem.value)
        assert Store(tmp_path / "d").collected() == before.known


def test_a_resource_that_is_too_large_is_named(tmp_path):
    source = write(tmp_path / "in", patient(1, text={"div": "x" * 40_000_000}))
    with pytest.raises(DataError) as problem:
        collect(tmp_path / "d", source)
    assert problem.value.code == "data.too_large"
    assert "Patient.ndjson:1:" in problem.value.message


def test_an_incomplete_export_is_refused(tmp_path):
    source = write(tmp_path / "in", patient(1))
    manifest = {
        "transactionTime": "2026-07-01T00:00:00Z",
        "output": [{"type": "Condition", "url": "x/Condition.1.ndjson"}],
    }
    (source / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CollectError) as problem:
        collect(tmp_path / "d", source)
    assert problem.value.code == "collect.incomplete"
    assert not (tmp_path / "d").exists()


def test_a_torn_file_of_an_export_of_the_sync_is_refused(tmp_path):
    source = write(tmp_path / "in", patient(1), patient(2))
    file = source / "Patient.ndjson"
    entry = {"name": file.name, "bytes": file.stat().st_size}
    (source / "manifest.json").write_text(json.dumps({"files": [entry]}), "utf-8")
    collect(tmp_path / "d", source)
    file.write_text(file.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(CollectError) as problem:
        collect(tmp_path / "d", source)
    assert problem.value.code == "collect.incomplete"


def test_of_an_export_of_the_sync_only_the_files_that_its_manifest_names_count(tmp_path):
    source = write(tmp_path / "in", patient(1))
    file = source / "Patient.ndjson"
    listed = {"files": [{"name": file.name, "bytes": file.stat().st_size}]}
    (source / "manifest.json").write_text(json.dumps(listed), "utf-8")
    file.with_name("Patient-000000-0001-0a1b.ndjson").write_bytes(file.read_bytes())
    assert collect(tmp_path / "d", source).changed == {"Patient": 1}


@pytest.mark.parametrize(
    "beside",
    [
        "manifest.json.part",
        "Condition.ndjson.part",
        "part-000003.json",
        "merged-000000.json",
        "shared-000003-0a1b.ndjson",
    ],
)
def test_an_export_or_a_download_that_has_not_ended_is_refused(tmp_path, beside):
    source = write(tmp_path / "in", patient(1))
    (source / beside).write_text("{}", "utf-8")
    with pytest.raises(CollectError) as problem:
        collect(tmp_path / "d", source)
    assert problem.value.code == "collect.incomplete"
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"output": [{"type": "Patient"}]}', '{"files": [{"bytes": "many"}]}'])
def test_a_manifest_of_another_shape_is_refused(tmp_path, content):
    source = write(tmp_path / "in", patient(1))
    (source / "manifest.json").write_text(content, "utf-8")
    with pytest.raises(DataError) as problem:
        collect(tmp_path / "d", source)
    assert problem.value.code == "data.malformed"


def test_a_service_may_say_null_of_what_it_does_not_report(tmp_path):
    source = write(tmp_path / "in", patient(1))
    listed = {"transactionTime": None, "output": None, "deleted": None, "error": None, "requiresAccessToken": None}
    (source / "manifest.json").write_text(json.dumps(listed), "utf-8")
    assert collect(tmp_path / "d", source).changed == {"Patient": 1}


def test_the_transaction_time_of_the_export_is_that_of_the_data(tmp_path):
    source = write(tmp_path / "in", patient(1))
    manifest = {"transactionTime": "2026-07-01T00:00:00Z", "output": [{"type": "Patient", "url": "x/Patient.ndjson"}]}
    (source / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert collect(tmp_path / "d", source).known.data_time == "2026-07-01T00:00:00Z"


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CollectError) as problem:
        collect(tmp_path, write(tmp_path.with_name("in_other"), patient(1)))
    assert problem.value.code == "collect.folder"


def test_there_is_nothing_to_refresh(tmp_path):
    with pytest.raises(CollectError) as problem:
        collect(tmp_path / "d", write(tmp_path / "in", patient(1)), refresh=True)
    assert problem.value.code == "collect.nothing"


_KILLED = """
import os, sys
from pathlib import Path
from tests.insights.collected import collect
collect(Path(sys.argv[1]), Path(sys.argv[2]), refresh=sys.argv[3] == "refresh",
        progress=lambda kind, size: os._exit(9) if kind == "Patient" else None)
"""


@pytest.mark.parametrize("how", ["full", "refresh"])
def test_a_kill_leaves_the_former_tables_and_the_next_run_goes_on(tmp_path, how):
    before = collect(tmp_path / "d", write(tmp_path / "in", patient(1), condition(1, 1, "a")))
    more = write(tmp_path / "more", patient(1), patient(2), condition(1, 1, "b", version="2"))
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "d", more, how], check=False)
    assert killed.returncode == 9
    assert Store(tmp_path / "d").collected() == before.known
    built = collect(tmp_path / "d", more, refresh=how == "refresh")
    assert ("Condition" in built.resumed) == (how == "full")
    collect(tmp_path / "whole", more)
    assert tables(tmp_path / "d") == tables(tmp_path / "whole")


def test_a_type_whose_files_went_since_a_build_was_killed_is_empty(tmp_path):
    first = write(tmp_path / "first", patient(1), condition(1, 1, "a"))
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "d", first, "full"], check=False)
    assert killed.returncode == 9
    later = write(tmp_path / "later", patient(1))
    built, whole = collect(tmp_path / "d", later), collect(tmp_path / "whole", later)
    assert (built.known, built.changed) == (whole.known, whole.changed)
    assert tables(tmp_path / "d") == tables(tmp_path / "whole")


@pytest.mark.parametrize("name", catalogue().views)
def test_a_table_is_declared_as_its_view_selects(name):
    """Tables of types without resources are declared only, and a refresh inserts into them what the view selects."""
    compiled = catalogue().views[name]
    with connect() as connection:
        stage(connection, compiled.resource, (), compiled.shape)
        connection.execute(f"CREATE TABLE selected AS {compiled.select(STAGE)}")
        connection.execute(f"CREATE TABLE declared ({compiled.declared()})")
        selected, declared = (connection.execute(f"DESCRIBE {made}").fetchall() for made in ("selected", "declared"))
    assert declared == selected


def test_two_at_once_do_not_mix(tmp_path):
    source = write(tmp_path / "in", patient(1))
    script = (
        "import time, sys; from pathlib import Path; from tests.insights.collected import collect\n"
        "collect(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: (print('on', flush=True), time.sleep(60)))"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "d", source], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(InsightsError) as problem:
            collect(tmp_path / "d", source)
        other.kill()
    assert problem.value.code == "collect.busy"


_COMMAND = (sys.executable, "-m", "sync", "collect")


def test_while_one_command_collects_another_is_refused_and_leaves_its_downloads(tmp_path):
    """Two commands into one folder shared their downloads: each moved away the files of the other."""
    store = Store(tmp_path / "d")
    source = write(tmp_path / "in", patient(1))
    with store.alone():
        store.incoming.mkdir()
        second = subprocess.run(
            [*_COMMAND, store.folder, "--ndjson", source], capture_output=True, text=True, check=False
        )
        assert store.incoming.exists()
    assert (second.returncode, second.stderr.split(": ")[0]) == (2, "error  collect.busy")
    subprocess.run([*_COMMAND, store.folder, "--ndjson", source], capture_output=True, check=True)
    assert [file.name for file in store.folder.iterdir() if file != store.incoming] == ["tables.duckdb"]


def test_a_killed_command_blocks_nothing(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from insights.collect import Store\n"
        "with Store(Path(sys.argv[1])).alone(): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "d"], check=False)
    assert (tmp_path / "d" / "collecting.lock").exists()
    with Store(tmp_path / "d").alone():
        pass


def test_a_refresh_hashes_what_changed_and_nothing_else(tmp_path):
    """The work of a refresh grows with what changed, not with what is there; see also the tables' equality above."""
    people = [
        {"resourceType": "Patient", "id": f"p{number}", "meta": {"versionId": "1"}, "gender": "male"}
        for number in range(3000)
    ]
    full = collect(tmp_path / "data", write(tmp_path / "in", *people))
    changed = [{**one, "meta": {"versionId": "2"}, "gender": "female"} for one in people[:30]]
    built = collect(tmp_path / "data", write(tmp_path / "changed", *changed, deleted=("Patient/p99",)), refresh=True)
    now = [*changed, *people[30:99], *people[100:]]
    again = collect(tmp_path / "again", write(tmp_path / "now", *now))
    assert built.known.data_version == again.known.data_version != full.known.data_version
    assert tables(tmp_path / "data") == tables(tmp_path / "again")
    assert (full.hashed, again.hashed) == (3000, 2999)
    assert built.hashed == 30 + 31, "30 are there in two versions, and one went"

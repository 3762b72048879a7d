"""The storage emulator and the embedded FHIR server start, answer as the rest of the tests presume, and go with us."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from azure.storage.queue import QueueClient

from local import node
from local.azurite import REMOVING
from local.processes import StartError, running
from tests.waiting import until


def test_packages_are_installed_once_and_asked_for_cheaply():
    first = node.ensure_packages()
    start = time.perf_counter()
    assert node.ensure_packages() == first == node.packages_folder()
    assert time.perf_counter() - start < 0.1
    assert (first / "node_modules" / "azurite" / "package.json").is_file()


def manifest(folder, dependencies, packages):
    root = {"name": "x", "version": "1.0.0", "dependencies": dependencies}
    lock = {"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **packages}}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / "package-lock.json").write_text(json.dumps(lock))


def test_concurrent_installs_wait_for_one_another(tmp_path, capsys):
    manifest(tmp_path, {}, {})
    with ThreadPoolExecutor() as askers:
        folders = set(askers.map(lambda _: node.ensure_packages(tmp_path / "cache", tmp_path), range(4)))
    assert len(folders) == 1
    assert capsys.readouterr().err.count("Installing") == 1


def test_a_failed_install_says_what_npm_said_and_leaves_nothing(tmp_path):
    manifest(tmp_path, {"a": "1.0.0"}, {})  # the lock lacks what the manifest wants
    cache = tmp_path / "cache"
    with pytest.raises(StartError, match="npm ci failed"):
        node.ensure_packages(cache, tmp_path)
    assert [path.name for path in cache.iterdir()] == ["node.lock"]


def test_the_lock_names_no_registry():
    assert '"resolved"' not in (node.SOURCES / "package-lock.json").read_text()


def removals(seed, *words, before=()):
    """Run the schedule of removals; return what it left, and how often LokiJS sorted all indices."""
    modules = {"NODE_PATH": str(node.ensure_packages() / "node_modules")}
    command = node.leashed(
        Path(__file__).parent / "stand_ins" / "removals.cjs", str(seed), "200", *words, before=before
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **modules}) as run:
        left = json.loads(run.stdout.readline())
        return left, int(run.stdout.readline())


def test_none_and_one_are_removed_from_the_emulators_collections_without_sorting_them():
    _, sorted_as_shipped = removals(7)
    left, sorted_here = removals(7, before=[REMOVING])
    assert left == removals(7)[0]
    assert sorted_as_shipped > 50
    assert sorted_here == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_emulators_collections_hold_the_same_after_any_removals(seed):
    left, _ = removals(seed, "several", before=[REMOVING])
    assert left == removals(seed, "several")[0]
    assert all(count == 1 for count in left["found"].values())


def test_azurite_stores_messages(azurite):
    queue = QueueClient.from_connection_string(azurite, f"q{uuid.uuid4().hex}")
    queue.create_queue()
    queue.send_message("hello", time_to_live=-1)
    assert [message.content for message in queue.receive_messages()] == ["hello"]


def test_a_command_that_does_not_start_is_named_with_its_output():
    command = [sys.executable, "-c", "print('no such port')"]
    with (
        pytest.raises(StartError, match=r"(?s)the thing ended.*no such port"),
        running(command, name="the thing", ready=lambda line: None),
    ):
        pass


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_the_process_that_started_them(sent):
    program = (
        "import time; from local.azurite import azurite\nwith azurite() as a: print(a.pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    starter.send_signal(sent)
    starter.wait(60)
    until(lambda: not _alive(pid), "the server that was started has ended")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # an orphan whose new parent never reaps it is dead all the same
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return True


@pytest.fixture
def fhir(fhir_embedded):
    with httpx.Client(base_url=fhir_embedded + "/") as client:
        yield client


def patient(identity, value="1"):
    return {"resourceType": "Patient", "id": identity, "identifier": [{"system": "urn:test", "value": value}]}


def fresh():
    return uuid.uuid4().hex


def test_put_creates_then_updates_with_growing_versions(fhir):
    path = f"Patient/{(name := fresh())}"
    assert fhir.put(path, json=patient(name)).status_code == 201
    updated = fhir.put(path, json=patient(name, "2"))
    assert (updated.status_code, updated.headers["ETag"]) == (200, 'W/"2"')
    assert [e["resource"]["meta"]["versionId"] for e in fhir.get(f"{path}/_history").json()["entry"]] == ["2", "1"]


def test_a_stale_if_match_is_refused(fhir):
    name = fresh()
    for value in ("1", "2"):
        fhir.put(f"Patient/{name}", json=patient(name, value))
    stale = fhir.put(f"Patient/{name}", json=patient(name, "3"), headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    assert fhir.get(f"Patient/{name}").json()["identifier"][0]["value"] == "2"


def test_delete_may_be_repeated_and_versions_go_on_after_it(fhir):
    name = fresh()
    fhir.put(f"Patient/{name}", json=patient(name))
    assert [fhir.delete(f"Patient/{name}").status_code for _ in range(2)] == [204, 204]
    assert fhir.get(f"Patient/{name}").status_code == 404
    again = fhir.put(f"Patient/{name}", json=patient(name))
    assert (again.status_code, again.json()["meta"]["versionId"]) == (201, "2")


def test_post_creates_under_a_new_id_unless_one_exists_already(fhir):
    value = fresh()
    headers = {"If-None-Exist": f"identifier=urn:test|{value}"}
    first, second = (fhir.post("Patient", json=patient("mine", value), headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"] != "mine"
    assert first.headers["Location"].endswith(f"{first.json()['id']}/_history/1")


@pytest.mark.parametrize("send", ["GET", "POST"])
def test_search_by_identifier_pages_and_counts(fhir, send):
    value = fresh()
    for _ in range(3):
        fhir.put(f"Patient/{(name := fresh())}", json=patient(name, value))
    query = {"identifier": f"urn:test|{value}", "_count": "2"}
    page = (fhir.get("Patient", params=query) if send == "GET" else fhir.post("Patient/_search", data=query)).json()
    assert (page["total"], len(page["entry"])) == (3, 2)
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    last = fhir.get(following).json()
    assert len(last["entry"]) == 1
    assert all(link["relation"] != "next" for link in last["link"])
    assert "entry" not in fhir.get("Patient", params={**query, "_summary": "count"}).json()


def test_search_by_identifier_follows_updates_and_deletes(fhir):
    old, new, name = fresh(), fresh(), fresh()

    def holders(value):
        bundle = fhir.get("Patient", params={"identifier": f"urn:test|{value}"}).json()
        return [entry["resource"]["id"] for entry in bundle.get("entry", [])]

    fhir.put(f"Patient/{name}", json=patient(name, old))
    assert (holders(old), holders(new)) == ([name], [])
    fhir.put(f"Patient/{name}", json=patient(name, new))
    assert (holders(old), holders(new)) == ([], [name])
    assert fhir.get("Patient", params={"identifier": f"{old},{new}"}).json()["total"] == 1
    fhir.delete(f"Patient/{name}")
    assert holders(new) == []


def test_a_transaction_resolves_references_and_answers_each_entry(fhir):
    study, person = fresh(), "urn:uuid:" + str(uuid.uuid4())
    entries = [
        {
            "fullUrl": person,
            "resource": patient(None) | {"id": fresh()},
            "request": {"method": "POST", "url": "Patient"},
        },
        {
            "resource": {
                "resourceType": "ImagingStudy",
                "id": study,
                "status": "available",
                "subject": {"reference": person},
            },
            "request": {"method": "PUT", "url": f"ImagingStudy/{study}"},
        },
        {"request": {"method": "DELETE", "url": f"Patient/{fresh()}"}},
    ]
    answer = fhir.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).json()
    assert [entry["response"]["status"] for entry in answer["entry"]] == ["201", "201", "204"]
    assert [entry["response"].get("etag") for entry in answer["entry"]] == ['W/"1"', 'W/"1"', None]
    reference = fhir.get(f"ImagingStudy/{study}").json()["subject"]["reference"]
    assert fhir.get(reference).status_code == 200


def test_a_failed_entry_of_a_transaction_carries_its_own_status(fhir):
    name = fresh()
    fhir.put(f"Patient/{name}", json=patient(name))
    entry = {
        "resource": patient(name),
        "request": {"method": "PUT", "url": f"Patient/{name}", "ifMatch": 'W/"7"'},
    }
    answer = fhir.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert (answer.status_code, answer.json()["entry"][0]["response"]["status"]) == (200, "412")


def test_bad_input_is_refused_by_its_kind(fhir):
    unknown_element = patient("x") | {"favourite": "blue"}
    assert fhir.put("Patient/x", json=unknown_element).status_code == 400
    assert fhir.put("Patient/x", content=b"{").status_code == 400
    assert fhir.put("Patient/y", json=patient("x")).status_code == 400
    assert fhir.get("Pirate/1").status_code == 404
    assert fhir.post("", json={"resourceType": "Bundle", "type": "transaction"}).status_code == 400


def test_minimal_answers_have_no_body_but_an_etag(fhir):
    name = fresh()
    answer = fhir.put(f"Patient/{name}", json=patient(name), headers={"Prefer": "return=minimal"})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (201, b"", 'W/"1"')


def test_requests_are_counted_by_method(fhir):
    before = fhir.get("_requests").json()
    fhir.get("metadata").raise_for_status()
    fhir.delete(f"Patient/{fresh()}")
    after = fhir.get("_requests").json()
    assert after["total"] - before["total"] == 2
    assert after["by_method"]["DELETE"] - before["by_method"].get("DELETE", 0) == 1


def test_a_study_of_fifty_megabytes_fits(fhir):
    name = fresh()
    series = {"uid": "2.25.1", "modality": {"system": "urn:m", "code": "CT"}, "description": "x" * 1_000_000}
    study = {"resourceType": "ImagingStudy", "id": name, "status": "available", "subject": {"display": "p"}}
    study["series"] = [series | {"uid": f"2.25.{n}"} for n in range(50)]
    assert fhir.put(f"ImagingStudy/{name}", json=study, timeout=60).status_code == 201
    assert fhir.delete(f"ImagingStudy/{name}").status_code == 204  # other tests search

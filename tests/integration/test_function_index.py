"""
The app as Azure's own worker library sees it: what it binds to, and that each function runs.

The bindings are compared with ``tests/data/bindings.json``. After a change on purpose, write it anew:
``python -m tests.integration.test_function_index``.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.azurite import azurite as private_azurite
from sync.events import study_message
from sync.model import StudyRef
from tests.e2e.files import made, uid
from tests.e2e.messages import event, packed

ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "tests" / "data" / "bindings.json"
REFRESH = "python -m tests.integration.test_function_index"
TIMER = json.dumps({"Schedule": {}, "ScheduleStatus": {}, "IsPastDue": False})


class App:
    """An indexed app in its process."""

    def __init__(self, process):
        self._process = process
        self.bindings = json.loads(self._line())

    def _line(self):
        line = self._process.stdout.readline()
        assert line, f"the app ended: exit status {self._process.wait(10)}"
        return line

    def invoke(self, function, kind, value=None, **more):
        self._process.stdin.write(json.dumps({"function": function, "kind": kind, "value": value, **more}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def get(self, function, **sent):
        answer = self.invoke(function, "http", sent)
        assert "error" not in answer, answer
        return answer["status"], json.loads(answer["body"])

    def post(self, function, fields, headers=None):
        return self.get(function, method="POST", body=json.dumps(fields), headers=headers or {})

    def deliver(self, function, text, **more):
        """Hand over a message as the host does with messageEncoding none: untouched."""
        return self.invoke(function, "string", text, **more)


@contextlib.contextmanager
def indexed(errors=None, **environment):
    """Run the app with these settings and no others of ours."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("DICOM_SYNC_", "AzureWebJobsStorage"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.stand_ins.indexed_app"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=ROOT,
        env=others | environment,
    )
    try:
        yield App(process)
    finally:
        process.kill()
        process.communicate()


def shown(bindings):
    """Return bindings as text that compares line by line."""
    in_order = {name: sorted(list_, key=lambda one: one["name"]) for name, list_ in bindings.items()}
    return json.dumps(in_order, indent=2, sort_keys=True) + "\n"


@pytest.fixture(scope="module")
def storage():
    with private_azurite() as server:  # ours alone: the app's tables and queues have fixed names
        BlobServiceClient.from_connection_string(server.connection_string).create_container("dicom")
        yield server.connection_string


@pytest.fixture(scope="module")
def app(storage, fhir_embedded):
    environment = {
        "AzureWebJobsStorage": storage,
        "DICOM_SYNC_FHIR_URL": fhir_embedded,
        "DICOM_SYNC_CONTAINERS": "dicom",
        "DICOM_SYNC_QUIET_PERIOD": "0",
        "DICOM_SYNC_OPERATORS": "key",
    }
    with indexed(**environment) as running:
        yield running


def upload(storage, name, content):
    blobs = BlobServiceClient.from_connection_string(storage)
    blobs.get_blob_client("dicom", name).upload_blob(content, overwrite=True)


def study_messages(storage):
    return messages(storage, "studies")


def messages(storage, name):
    queue = QueueServiceClient.from_connection_string(storage).get_queue_client(name)
    received = list(queue.receive_messages())
    for message in received:
        queue.delete_message(message)
    return [message.content for message in received]


def codes(app):
    status, letters = app.get("dead_letters")
    assert status == 200
    return set(letters["by_code"])


def test_the_bindings_are_those_of_the_snapshot(app):
    assert shown(app.bindings) == SNAPSHOT.read_text("utf-8"), f"bindings changed; if on purpose: {REFRESH}"


def test_every_queue_function_has_its_poison_function(app):
    queues = {
        binding["queueName"] for function in app.bindings.values() for binding in function if "queueName" in binding
    }
    # A message of ``slices`` that is delivered again is dropped, so none becomes poison.
    assert queues == {"objects", "objects-poison", "studies", "studies-poison", "slices"}


def test_only_health_and_the_files_of_the_dashboard_answer_without_a_key(app):
    levels = {
        name: binding["authLevel"] for name, all_ in app.bindings.items() for binding in all_ if "authLevel" in binding
    }
    assert {name: level.lower() for name, level in levels.items()} == {
        "health": "anonymous",
        "status": "function",
        "timeline": "function",
        "inbox": "function",
        "metrics": "function",
        "studies": "function",
        "study": "function",
        "dead_letters": "function",
        "dead_letter": "function",
        "retry_dead_letters": "function",
        "discard_dead_letters": "function",
        "removals": "function",
        "decide_removals": "function",
        "replay": "function",
        "replay_list": "function",
        "walks": "function",
        "backfill": "function",
        "change_walk": "function",
        "dashboard": "function",
        "dashboard_file": "anonymous",
    }


def test_health_status_and_dead_letters_answer(app):
    assert app.get("health") == (200, {"status": "ok"})
    code, status = app.get("status")
    assert code == 200
    assert status.keys() >= {"idle", "dirty_studies", "queued", "synced_studies", "dead_letters"}
    code, letters = app.get("dead_letters")
    assert code == 200
    assert letters.keys() == {"total", "by_code", "counted_at"}


def test_an_object_becomes_a_study_in_fhir(app, storage, fhir_embedded):
    study = uid("indexed", 1)
    upload(storage, "a.dcm", made(study, uid("indexed", 1, 1), uid("indexed", 1, 1, 1), patient="INDEXED-1"))
    assert app.deliver("ingest_object", packed(event("a.dcm"))) == {}
    (woken,) = study_messages(storage)
    assert app.deliver("project_study", woken) == {}
    answer = httpx.get(f"{fhir_embedded}/ImagingStudy", params={"identifier": f"urn:dicom:uid|urn:oid:{study}"})
    assert len(answer.json()["entry"]) == 1


@pytest.mark.parametrize("text", ["no event at all", base64.b64encode(b"\xff\xfe").decode(), ""])
def test_a_message_that_is_none_gets_a_dead_letter_and_no_second_try(app, text):
    before = app.get("dead_letters")[1]["total"]
    assert app.deliver("ingest_object", text) == {}
    assert "event.malformed" in codes(app)
    assert app.get("dead_letters")[1]["total"] == before + 1


def test_poison_messages_become_dead_letters(app):
    assert app.deliver("ingest_object_poison", packed(event("never-seen.dcm"))) == {}
    assert app.deliver("project_study_poison", study_message(StudyRef(study_instance_uid=uid("indexed", 2)))) == {}
    assert codes(app) >= {"poison.object", "poison.study"}


def test_a_dead_letter_is_shown_retried_and_gone_once_its_object_is_repaired(app, storage):
    upload(storage, "repaired.dcm", b"no DICOM")
    assert app.deliver("ingest_object", packed(event("repaired.dcm"))) == {}
    letter = app.get("dead_letters", query={"code": "header.not_dicom"})[1]["letters"][0]
    one = {"kind": "object", "subject": letter["subject"]}
    assert app.get("dead_letter", params=one)[1] == letter
    shown = app.get("dead_letter", params=one, query={"secrets": "true"})[1]
    assert shown["secrets"]["object"].endswith("/dicom/repaired.dcm")
    study = uid("repaired", 1)
    upload(storage, "repaired.dcm", made(study, uid("repaired", 1, 1), uid("repaired", 1, 1, 1), patient="INDEXED-3"))
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert app.post("retry_dead_letters", one, foreign)[0] == 403
    code, report = app.post("retry_dead_letters", one)
    assert (code, report["outcomes"]) == (200, {"asked": 1})
    (asked,) = messages(storage, "objects")
    assert app.deliver("ingest_object", asked) == {}
    assert app.get("dead_letter", params=one)[0] == 404
    assert study_messages(storage)


def test_dead_letters_are_discarded_with_who_and_why(app):
    assert app.deliver("ingest_object", "no event, to be discarded") == {}
    everything = {"code": "event.malformed", "why": "tried"}
    assert app.post("discard_dead_letters", everything)[0] == 400
    code, report = app.post("discard_dead_letters", everything, {"X-DICOM-Sync-Operator": "Jane"})
    assert (code, report["selected"]) == (200, report["outcomes"]["discarded"])
    assert "event.malformed" not in codes(app)


def test_the_sweep_wakes_a_study_whose_message_was_lost(app, storage):
    upload(storage, "b.dcm", made(uid("swept", 1), uid("swept", 1, 1), uid("swept", 1, 1, 1), patient="INDEXED-2"))
    assert app.deliver("ingest_object", packed(event("b.dcm")), dequeue_count=2) == {}
    assert study_messages(storage)
    assert app.invoke("tick", "json", TIMER) == {}  # the first of a process begins every job
    assert study_messages(storage)


def test_the_timers_run_and_the_status_tells_what_was_compared(app):
    for name in ("tick", "read_feeds", "evaluate_alerts"):
        assert app.invoke(name, "json", TIMER) == {}
    code, status = app.get("status")
    assert (code, status["drift"].keys()) == (200, {"open", "by_kind", "last_round"})


def test_a_storage_that_is_away_makes_health_fail_and_messages_come_again():
    away = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;{_endpoints('http://127.0.0.1:1/a')}"
    with indexed(AzureWebJobsStorage=away, DICOM_SYNC_FHIR_URL="http://127.0.0.1:1/fhir") as app:
        code, said = app.get("health")
        assert (code, said["status"], said["code"]) == (503, "failing", "store.unavailable")
        assert app.deliver("ingest_object", packed(event("a.dcm")))["error"].startswith("StoreUnavailable: ")


def emptied(storage):
    """Empty the queues; tell how many messages each held, invisible ones included."""
    service, held = QueueServiceClient.from_connection_string(storage), {}
    for queue in service.list_queues():
        client = service.get_queue_client(queue.name)
        if count := client.get_queue_properties().approximate_message_count:
            held[queue.name] = count
        client.clear_messages()
    return held


def _endpoints(url):
    return ";".join(f"{service}Endpoint={url}" for service in ("Blob", "Queue", "Table"))


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("AzureWebJobsStorage", ""),
        ("AzureWebJobsStorage", "not-a-connection-string-SENTINEL"),
        ("DICOM_SYNC_FHIR_URL", ""),
        ("DICOM_SYNC_ISSUERS", "{SENTINEL"),
        ("DICOM_SYNC_SOURCE", "not-a-connection-string-SENTINEL"),
        ("DICOM_SYNC_HEADER_MAX_DEPTH", "SENTINEL"),
    ],
)
def test_a_wrong_setting_reaches_the_operator_and_loses_no_message(storage, tmp_path, setting, value):
    emptied(storage)  # and the queues are there: another app has made them
    sound = {"AzureWebJobsStorage": storage, "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:1/fhir"}
    log = tmp_path / "log"
    with log.open("w") as errors, indexed(errors=errors, **(sound | {setting: value})) as app:
        code, said = app.get("health")
        assert (code, said["status"], said["code"]) == (503, "failing", "config.invalid")
        assert said["setting"] == setting
        assert said["hint"].startswith(f"{setting}: ")
        for function in ("ingest_object", "ingest_object_poison", "project_study", "project_study_poison"):
            delivered = app.deliver(function, packed(event("a.dcm")))
            if setting == "AzureWebJobsStorage":  # no queue is known: failed, and the host keeps the message
                assert delivered["error"].startswith(f"ConfigError: {setting}: ")
            else:  # sent again for later: nothing is used up
                assert delivered == {}
    if setting != "AzureWebJobsStorage":
        assert emptied(storage) == {"objects": 1, "objects-poison": 1, "studies": 1, "studies-poison": 1}
    assert f"config.invalid {setting}: " in log.read_text()
    assert "SENTINEL" not in log.read_text() + json.dumps(said)


if __name__ == "__main__":
    with indexed() as unconfigured:
        SNAPSHOT.write_text(shown(unconfigured.bindings), encoding="utf-8")

"""The workflow that tries Azure's own host and publishes the image: what it may do, and that what it runs is there."""

import itertools
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from scripts.real_host import PASSED_ON, container_command
from tests.infra.templates import INFRA

ROOT = INFRA.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
(CI,) = [yaml.safe_load(path.read_text("utf-8")) for path in WORKFLOWS if path.name == "ci.yml"]
JOBS = CI["jobs"]
DIGEST = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")
OFFICIAL = re.compile(r"actions/[\w-]+@v\d+")


def steps():
    return [(name, step) for name, job in JOBS.items() for step in job["steps"]]


def scripts():
    return [(name, step["run"]) for name, step in steps() if "run" in step]


def test_actions_are_pinned_and_those_of_others_by_digest_with_the_version_beside_it():
    used = [step["uses"] for _, step in steps() if "uses" in step]
    assert used
    assert [action for action in used if not (OFFICIAL.fullmatch(action) or DIGEST.fullmatch(action))] == []
    text = WORKFLOWS[0].read_text("utf-8")
    for action in filter(DIGEST.fullmatch, used):
        assert re.search(re.escape(action) + r" # v\d+\.\d+\.\d+$", text, re.MULTILINE), action


def test_jobs_may_read_alone_and_the_one_that_publishes_may_sign_and_push():
    assert CI["permissions"] == {"contents": "read"}
    given = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert given == {"publish": {"contents": "read", "packages": "write", "id-token": "write"}}
    assert all(job["timeout-minutes"] <= 90 for job in JOBS.values())
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_no_script_holds_what_another_writes():
    """What a branch or a pull request is called would be part of the script; names of events are ours."""
    written = [said for _, run in scripts() for said in re.findall(r"\$\{\{(.*?)\}\}", run)]
    assert [said for said in written if set(re.findall(r"\b[a-z_]+\.[\w.]+", said)) - {"github.event_name"}] == []


@pytest.mark.parametrize(("job", "run"), scripts())
def test_scripts_are_scripts_and_run_what_is_there(job, run):
    assert subprocess.run(["bash", "-n"], input=run, text=True, check=False).returncode == 0
    for module in re.findall(r"python -m (scripts\.\w+)", run):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), job
    targets = re.findall(r"^(?:\$\(VENV\)/)?([\w.-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for said in re.findall(r"\bmake (\$\{\{.*?\}\}|\S+)", run):
        chosen = re.findall(r"[?&|]+ '([\w-]+)'", said) if said.startswith("${{") else [said]
        assert chosen, said
        assert {target.removeprefix(".venv/") for target in chosen} <= set(targets), job


def test_the_host_is_tried_before_an_image_is_published():
    tried = {name for name, run in scripts() if "scripts.real_host" in run}
    assert tried == {"image", "core-tools"}
    publish = JOBS["publish"]
    assert set(publish["needs"]) == JOBS.keys() - {"publish"}
    assert "tag" in publish["if"]
    assert CI[True]["push"]["tags"] == ["v*"]  # YAML 1.1 reads "on" as true


def test_the_image_is_published_with_what_it_holds_and_signed_by_its_digest():
    by_action = {step["uses"].partition("@")[0]: step for step in JOBS["publish"]["steps"] if "uses" in step}
    built = by_action["docker/build-push-action"]
    assert built["with"] | {"push": True, "sbom": True, "provenance": "mode=max"} == built["with"]
    signing = JOBS["publish"]["steps"][-1]
    assert signing["env"]["DIGEST"] == f"${{{{ steps.{built['id']}.outputs.digest }}}}"
    assert [line for line in signing["run"].splitlines() if "$IMAGE" in line] == [
        'cosign sign --yes "$IMAGE@$DIGEST"',
        'cosign verify "$IMAGE@$DIGEST" \\',
    ]


def test_a_container_gets_the_settings_of_the_world_by_name_and_no_secret_on_its_command_line(tmp_path):
    command = container_command("image:1", 7071, tmp_path)
    given = [value for flag, value in itertools.pairwise(command) if flag == "--env"]
    assert set(PASSED_ON) <= set(given)
    assert "AzureFunctionsWebHost__hostid=dicom-fhir-sync-tried" in given
    assert command[-1] == "image:1"
    assert f"{tmp_path}:/run/secrets/functions-keys:ro" in shlex.join(command)


def test_a_host_is_announced_once_it_serves_a_file_of_the_app():
    """A host of which every route is 404, as of an app with no functions, is not."""
    asked = []

    class Host(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if len(asked) > 1 else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Host) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        waiting = [sys.executable, "-c", "import signal; signal.sigwait({signal.SIGTERM})"]
        child = subprocess.Popen(
            [sys.executable, "-m", "scripts.announced", str(host.server_port), *waiting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            assert child.stdout.readline() == f"listening on http://127.0.0.1:{host.server_port}\n"
            assert asked == ["/api/dashboard/static/dashboard.css"] * 2
            child.stdin.close()  # as when the process that started it is killed
            child.wait(30)
        finally:
            child.kill()
            child.stdout.close()
            host.shutdown()

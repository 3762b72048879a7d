"""The Helm chart as Helm renders it: the schemas of Kubernetes and KEDA take it, and it has what the host needs."""

import json

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from local.helm import FOLDER, SCHEMAS
from sync.cli import app
from tests.infra.chart import FULL, LEAST, OLDEST, merged, rendered, run

NAME = "sync-dicom-fhir-sync"
NEWEST = "1.37.0"

OFF = {
    **LEAST,
    "watch": {"enabled": False},
    "keda": {"enabled": False},
    "disruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
}


@pytest.fixture(params=[LEAST, FULL, OFF], ids=["least", "full", "off"])
def manifests(request, tmp_path):
    return rendered(request.param, tmp_path)


def pod(manifest):
    return manifest["spec"]["template"]["spec"]


def settings(manifests):
    return manifests["ConfigMap", NAME]["data"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_manifest(manifests, version):
    checked = 0
    for (kind, _), manifest in manifests.items():
        if kind not in {"ScaledObject", "TriggerAuthentication"}:
            kubernetes_validate.validate(manifest, version, strict=True)
            checked += 1
    assert checked >= 5


def test_keda_takes_its_own(tmp_path):
    manifests = rendered(LEAST, tmp_path)
    for name in SCHEMAS:
        definition = yaml.safe_load((FOLDER / name).read_text("utf-8"))["spec"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]
        manifest = manifests[definition["names"]["kind"], NAME]
        jsonschema.validate(manifest, closed(schema))
        assert manifest["apiVersion"] == f"{definition['group']}/{definition['versions'][0]['name']}"


def closed(schema):
    """Return the schema with unknown fields refused, as ``kubectl --validate=strict`` does."""
    if isinstance(schema, dict):
        inner = {key: closed(value) for key, value in schema.items()}
        metadata = schema.get("properties", {}).keys() == set()
        return {**inner, "additionalProperties": False} if "properties" in schema and not metadata else inner
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


def test_all_replicas_share_one_host_and_its_keys(manifests):
    """Otherwise each pod fires every timer, and has keys that no hook knows."""
    assert 1 <= len(settings(manifests)["AzureFunctionsWebHost__hostid"]) <= 32
    container = pod(manifests["Deployment", NAME])["containers"][0]
    assert {"name": "AzureWebJobsSecretStorageType", "value": "ContainerApps"} in container["env"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"] if mount["name"] == "keys"}
    assert mounts["keys"] == {"name": "keys", "mountPath": "/run/secrets/functions-keys", "readOnly": True}


def test_two_releases_are_two_hosts_even_where_their_names_begin_alike(tmp_path):
    names = ["a" * 40 + "x", "a" * 40 + "y"]
    ids = set()
    for name in names:
        data = [manifest.get("data", {}) for manifest in rendered(LEAST, tmp_path, name).values()]
        ids |= {settings["AzureFunctionsWebHost__hostid"] for settings in data if len(settings) > 1}
    assert len(ids) == 2


def test_the_timer_of_the_feeds_is_off_where_none_is_set(tmp_path):
    given = LEAST["settings"]
    for feed in ({}, {"DICOM_SYNC_DICOM_URL": "https://d.example"}, {"DICOM_SYNC_ORTHANC_URL": "https://o.example"}):
        manifests = rendered(LEAST | {"settings": given | feed}, tmp_path)
        assert settings(manifests)["AzureWebJobs_read_feeds_Disabled"] == ("false" if feed else "true"), feed


def test_a_pod_drains_before_it_is_stopped_and_has_the_time(manifests):
    spec = pod(manifests["Deployment", NAME])
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    drain = float(command[command.index("--seconds") + 1])
    assert spec["terminationGracePeriodSeconds"] >= drain + 10  # the host takes ten seconds after SIGTERM
    assert "drain" in manifests["ConfigMap", f"{NAME}-drain"]["data"]["drain.py"]
    compile(manifests["ConfigMap", f"{NAME}-drain"]["data"]["drain.py"], "drain.py", "exec")


def test_every_container_is_confined(manifests):
    for (kind, _), manifest in manifests.items():
        if kind != "Deployment":
            continue
        assert pod(manifest)["securityContext"]["runAsNonRoot"] is True
        for container in pod(manifest)["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_probes_ask_by_get_and_wait_longer_than_the_default(manifests):
    container = pod(manifests["Deployment", NAME])["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["timeoutSeconds"] > 1
        assert container[probe]["httpGet"]["path"].startswith("/api/")


def test_what_is_switched_off_is_not_rendered(tmp_path):
    kinds = {kind for kind, _ in rendered(OFF, tmp_path)}
    assert kinds == {"Deployment", "Service", "ServiceAccount", "ConfigMap"}


def test_a_fixed_number_of_replicas_and_keda_exclude_each_other(tmp_path):
    assert "replicas" not in rendered(LEAST, tmp_path)["Deployment", NAME]["spec"]
    assert rendered(FULL, tmp_path)["Deployment", NAME]["spec"]["replicas"] == 2


def test_services_and_budgets_select_the_pods_they_mean(manifests):
    labels = manifests["Deployment", NAME]["spec"]["template"]["metadata"]["labels"]
    selectors = [manifests["Service", NAME]["spec"]["selector"]]
    if ("PodDisruptionBudget", NAME) in manifests:
        selectors.append(manifests["PodDisruptionBudget", NAME]["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items()


def test_settings_are_text_whatever_they_look_like(tmp_path):
    odd = {**LEAST["settings"], "DICOM_SYNC_CONTAINERS": "true", "DICOM_SYNC_ALERT_WEBHOOK": 'https://a/?q="{{x}}"\n'}
    data = settings(rendered({**LEAST, "settings": odd}, tmp_path))
    assert data["DICOM_SYNC_CONTAINERS"] == "true"
    assert data["DICOM_SYNC_ALERT_WEBHOOK"] == odd["DICOM_SYNC_ALERT_WEBHOOK"]


def test_large_numbers_are_written_out(tmp_path):
    """Helm reads numbers as floating point, and would write a million as 1e+06, which KEDA does not take."""
    many = {"functions": {"maxReplicas": 1_000_000, "messagesPerReplica": {"objects": 1_000_000}}}
    scaled = rendered(merged(many, LEAST), tmp_path)["ScaledObject", NAME]["spec"]
    lengths = {trigger["metadata"]["queueName"]: trigger["metadata"]["queueLength"] for trigger in scaled["triggers"]}
    assert (lengths["objects"], scaled["maxReplicaCount"]) == ("1000000", 1_000_000)


def test_a_release_whose_name_has_dots_has_names_without(tmp_path):
    assert all("." not in name for _, name in rendered(LEAST, tmp_path, "imaging.v2"))


def test_helm_refuses_by_the_schema_before_anything_is_sent(tmp_path):
    refused = run(merged({"functions": {"minReplicas": 0}}, LEAST), tmp_path)
    assert refused.returncode != 0
    assert "minReplicas" in refused.stderr
    assert json.loads((tmp_path / "values.json").read_text())["functions"]["minReplicas"] == 0


def test_the_watch_runs_a_command_that_there_is(tmp_path):
    command = pod(rendered(LEAST, tmp_path)["Deployment", f"{NAME}-watch"])["containers"][0]["command"]
    assert command[:3] == ["python", "-m", "sync"]
    assert CliRunner().invoke(app, [*command[3:], "--help"]).exit_code == 0

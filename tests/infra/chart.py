"""The Helm chart: its files, values that an installation might have, and its manifests, rendered by Helm itself."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.helm import FOLDER

CHART = Path(__file__).parents[2] / "deploy" / "helm"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))

LEAST: dict[str, Any] = {
    "image": {"repository": "registry.example/dicom-fhir-sync", "tag": "1.0"},
    "identity": {"clientId": "11111111-2222-3333-4444-555555555555"},
    "state": {"account": "syncstate"},
    "keys": {"secret": "sync-keys"},
    "settings": {"DICOM_SYNC_FHIR_URL": "https://fhir.example", "DICOM_SYNC_SOURCE": "https://a.blob.core.windows.net"},
}
"""The least that has to be set."""

FULL: dict[str, Any] = {
    **LEAST,
    "cloud": "government",
    "settings": {**LEAST["settings"], "DICOM_SYNC_DICOM_URL": "https://dicom.example", "DICOM_SYNC_MAX_WAIT": "60"},
    "settingsSecrets": ["sync-passwords"],
    "functions": {"minReplicas": 2, "maxReplicas": 4},
    "drain": {"seconds": 600},
    "keda": {"enabled": False},
    "networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "egressPorts": [443, 8042]},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "imaging", "operator": "Exists"}],
}
"""As much as possible, and otherwise than by default."""


OLDEST = "1.29.0"
"""The oldest Kubernetes that the chart says it runs on."""


def merged(given: dict[str, Any], over: dict[str, Any] = VALUES) -> dict[str, Any]:
    """Return values over those of the chart, as Helm lays them."""
    both = dict(over)
    for name, value in given.items():
        beneath = over.get(name)
        both[name] = merged(value, beneath) if isinstance(value, dict) and isinstance(beneath, dict) else value
    return both


def helm() -> str:
    """Return where Helm is, or skip, saying so."""
    made = FOLDER / "helm"
    path = os.environ.get("HELM") or (str(made) if made.exists() else shutil.which("helm"))
    if not path:
        pytest.skip("Helm 3 is not here: python -m local prepare --helm, or its path into HELM")
    return path


def run(values: dict[str, Any], folder: Path, name: str = "sync") -> subprocess.CompletedProcess[str]:
    """Render the chart with values, as an installation does before it sends anything."""
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    command = [helm(), "template", name, str(CHART), "--namespace", "imaging", "--values", str(file)]
    command += ["--kube-version", OLDEST]  # a cluster tells its own; without one Helm assumes what it was built with
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def rendered(values: dict[str, Any], folder: Path, name: str = "sync") -> dict[tuple[str, str], dict[str, Any]]:
    """Return the manifests by kind and name."""
    done = run(values, folder, name)
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    manifests = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(manifests) == len(documents), "no two manifests of one kind and name"
    return manifests

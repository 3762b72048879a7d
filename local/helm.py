"""
Helm and KEDA's schemas, for tests that render the chart; both come by the Go module proxy and are pinned here.

Helm is compiled once (about two minutes), into a folder named after the versions. Where there is no Go, nothing is
made: the tests that want Helm are skipped and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.node import CACHE, only_one
from local.processes import StartError

HELM = "helm.sh/helm/v3/cmd/helm@v3.16.4"
KEDA = "github.com/kedacore/keda/v2@v2.15.1"
SCHEMAS = ("keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml")
"""Definitions of the custom resources that the chart makes, in KEDA's folder ``config/crd/bases``."""
FOLDER = CACHE / f"helm-{HELM.rpartition('@')[2]}-keda-{KEDA.rpartition('@')[2]}"
_SECONDS = 900


def ensure_helm() -> Path | None:
    """
    Make Helm unless it is there; return the folder of ``helm`` and KEDA's schemas, None without Go.

    Idempotent and safe to call from several processes at once: the first one compiles, the others wait.

    Raises
    ------
    StartError
        Go failed; the text holds what it said.
    """
    go = shutil.which("go")
    if FOLDER.exists():
        return FOLDER
    if go is None:
        print("Go is not here: the tests that render the Helm chart will be skipped.", file=sys.stderr, flush=True)
        return None
    CACHE.mkdir(parents=True, exist_ok=True)
    with only_one(CACHE / "helm.lock"):
        if not FOLDER.exists():
            _make(go)
    return FOLDER


def _make(go: str) -> None:
    print("Compiling Helm for tests of the chart (once, about two minutes) ...", file=sys.stderr, flush=True)
    work = Path(tempfile.mkdtemp(prefix="making-", dir=CACHE))
    try:
        _go(go, work, "install", HELM)
        sources = json.loads(_go(go, work, "mod", "download", "-json", KEDA))["Dir"]
        for name in SCHEMAS:
            shutil.copyfile(Path(sources) / "config" / "crd" / "bases" / name, work / name)
        work.rename(FOLDER)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _go(go: str, work: Path, *arguments: str) -> str:
    environment = {**os.environ, "GOBIN": str(work), "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(
            [go, *arguments], cwd=work, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise StartError(f"Helm could not be compiled: {problem}") from problem
    if done.returncode != 0:
        raise StartError(f"Helm could not be compiled: {(done.stderr or done.stdout).strip()}")
    return done.stdout

"""What a process has loaded after its start, and after its first message: modules are counted, not seconds."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

INGESTING = "import sync.bootstrap.deliveries, sync.delivery.handlers, sync.delivery.watchdog"
"""What the functions of the queues import."""

WALKS = "import sync.cli.backfill, sync.cli.replay, sync.cli.verify_all, sync.walks.exporting, sync.walks.verification"
"""What the commands import that are run most."""

BUILT = """
import asyncio
from sync.bootstrap import connect
from sync.config import Settings

async def build():
    await connect(Settings.load()).close()

asyncio.run(build())
"""

SETTINGS = {
    "AzureWebJobsStorage": "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:9/a;"
    "QueueEndpoint=http://127.0.0.1:9/a;TableEndpoint=http://127.0.0.1:9/a",
    "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:9/fhir",
    "DICOM_SYNC_CONTAINERS": "dicom",
}

SELDOM = (
    *("azure.eventgrid", "azure.identity", "duckdb", "fastavro", "insights", "jinja2", "jwt", "msal", "opentelemetry"),
    *("psutil", "typer", "sync.adapters.azure.event_grid", "sync.adapters.http.dicom", "sync.adapters.http.webhook"),
    *("sync.adapters.opentelemetry", "sync.cli", "sync.export", "sync.feeds", "sync.monitoring.alerts.watch"),
    *("sync.monitoring.status", "sync.replay", "sync.verify", "sync.web"),
)
"""What only some settings, commands, pages and timers need."""

LIBRARIES = (
    *("aiohttp", "azure.core", "azure.data", "azure.storage", "cryptography", "httpx", "pydantic", "pydicom"),
    *("requests", "rich"),
)


def loaded_by(*code: str) -> list[str]:
    """Names of the modules that a new process has loaded after the code, with no setting but those above."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DICOM_SYNC_", "AzureWebJobs"))
    }
    script = "\n".join([*code, "import json, sys", "print(json.dumps(list(sys.modules)))"])
    asked = [sys.executable, "-c", script]
    answer = subprocess.run(asked, cwd=ROOT, env=environment | SETTINGS, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def of(names: tuple[str, ...], modules: list[str]) -> list[str]:
    return [module for module in modules if any(module == name or module.startswith(f"{name}.") for name in names)]


def test_indexing_the_functions_loads_the_functions_library_alone():
    loaded = loaded_by("import function_app")
    assert of(("azure.functions",), loaded)
    assert of(("sync", *SELDOM, *LIBRARIES), loaded) == []


def test_the_queues_load_nothing_that_only_others_need():
    loaded = loaded_by("import function_app", INGESTING, BUILT)
    assert of(("sync.pipeline",), loaded)
    assert of(SELDOM, loaded) == []


def test_walks_that_find_all_as_it_was_load_no_reader_of_headers_and_no_models_of_resources():
    """Both are loaded where a header is read and where a resource is written; they took 0.2 s of every command."""
    loaded = loaded_by(WALKS, BUILT)
    assert of(("sync.replay", "sync.verify"), loaded)
    assert of(("azure.identity", "duckdb", "fastavro", "fhir", "jinja2", "pydicom", "sync.web"), loaded) == []


def test_what_the_triggers_import_is_there():
    """They import when they are called, so indexing would not notice a name that is gone."""
    tree = ast.parse((ROOT / "function_app.py").read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    names = {(str(node.module), alias.name) for node in imports for alias in node.names}
    assert len(names) > 20
    for module, name in names:
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")

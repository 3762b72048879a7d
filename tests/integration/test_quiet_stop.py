"""A host that is asked to stop logs nothing alarming about the connections that its app leaves open."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
APP = """
import aiohttp
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
kept = []


@app.route(route="open", methods=["GET"])
async def open_a_connection(req: func.HttpRequest) -> str:
    kept.append(aiohttp.ClientSession())
    async with kept[0].get(req.params["url"]) as answer:
        return str(answer.status)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_graceful_stop_is_quiet_though_the_app_never_closes_its_clients(azurite, fhir_embedded, tmp_path, how):
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "local.host", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "AzureWebJobsStorage": azurite},
    )
    try:
        address = process.stdout.readline().split()[-1]
        url = f"{fhir_embedded}/metadata"
        assert httpx.get(f"{address}/api/open", params={"url": url}).text == "200"
        process.send_signal(how)
        _, said = process.communicate(timeout=80)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "ERROR" not in said
    assert "Unclosed" not in said

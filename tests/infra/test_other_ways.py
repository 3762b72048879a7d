"""The container image, and what is published to Azure, hold the files that the functions import."""

import re

from tests.infra.templates import INFRA

ROOT = INFRA.parent


def test_the_image_holds_all_that_the_functions_import_and_nothing_else():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == {
        "requirements.txt",
        "host.json",
        "function_app.py",
        "sync",
        "insights",
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {"requirements.txt", "host.json", "function_app.py", "sync", "insights"}


def test_what_is_published_to_azure_leaves_out_what_only_developers_need():
    left_out = set((ROOT / ".funcignore").read_text().split())
    assert {"tests", "local", "bench", "docs", "infra", "local.settings.json"} <= left_out
    assert not {"sync", "function_app.py", "host.json", "requirements.txt"} & left_out

"""
What `make demo` and the functions host load is installed for them.

The environment of the tests has the libraries of collected data and of the tests too, so no other test notices.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT = """
import json, sys

absent = set(json.loads(sys.argv[1]))


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import importlib

for name in sys.argv[2:]:
    importlib.import_module(name)
"""
OURS = "dicom-fhir-sync"


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("requirements", "modules"),
    [
        ("requirements-local.txt", ["local.__main__", "local.clinical_files", "local.demo"]),
        ("requirements.txt", ["function_app", "sync.__main__", "insights.timeline.served", "insights.inbox.served"]),
    ],
)
def test_nothing_loads_a_library_that_is_not_installed_for_it(requirements, modules):
    pinned = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", (ROOT / requirements).read_text("utf-8"), re.MULTILINE)
    installed = {OURS, *map(plain, pinned)}
    absent = [top for top, those in packages_distributions().items() if installed.isdisjoint(map(plain, those))]
    assert {"duckdb", "hypothesis"} <= set(absent)
    asked = [sys.executable, "-c", WITHOUT, json.dumps(absent), *modules]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr

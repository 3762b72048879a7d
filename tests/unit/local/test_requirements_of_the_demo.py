"""What `make demo` loads is installed for it: requirements-local.txt has none of the libraries of the tests."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[3]
WITHOUT = """
import json, sys

absent = set(json.loads(sys.argv[1]))


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import local.__main__, local.clinical_files, local.demo
"""
OURS = "dicom-fhir-sync"


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_demo_loads_without_the_libraries_that_are_not_installed_for_it():
    pinned = re.findall(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==", (ROOT / "requirements-local.txt").read_text("utf-8"), re.MULTILINE
    )
    installed = {OURS, *map(plain, pinned)}
    absent = [top for top, those in packages_distributions().items() if installed.isdisjoint(map(plain, those))]
    assert {"duckdb", "hypothesis"} <= set(absent)
    asked = [sys.executable, "-c", WITHOUT, json.dumps(absent)]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr

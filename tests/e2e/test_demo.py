"""The demo as a newcomer's script would run it."""

import json
import subprocess
import sys

from tests.e2e.running import ROOT


def test_the_demo_ends_with_status_0_and_its_summary_as_the_last_line():
    command = [sys.executable, "-m", "local", "demo", "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["complete"] is True
    assert summary["problems"] == []
    assert min(summary[what] for what in ("studies", "series", "patients")) > 5
    assert summary["instances"] > 120
    assert sum(summary["rejected"].values()) == 5

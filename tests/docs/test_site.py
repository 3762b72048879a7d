"""The documentation site builds without a warning, and every page of it can be reached."""

import re
import subprocess
import sys
from pathlib import Path

from sync import __version__

ROOT = Path(__file__).parents[2]


def test_the_site_builds_and_no_link_or_reference_in_it_is_broken(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    title = re.search(r"<title>(.*?)</title>", (tmp_path / "site" / "index.html").read_text())
    assert title[1].endswith(f"{__version__}"), title[1]


def test_every_block_of_a_page_is_closed():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    odd = [str(path.relative_to(ROOT)) for path in pages if len(re.findall(r"(?m)^ *```", path.read_text())) % 2]
    assert odd == []

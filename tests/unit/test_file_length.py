"""No file of ours grows beyond what one reads in a sitting; where it would, a second subject has moved in."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 400
LONGER = {"sync/errors.py": "every error is a class, and a reader looks for all of them in one file"}


def test_no_file_is_too_long_to_read():
    folders = ("sync", "insights", "local", "bench", "scripts")
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lengths) > 400
    assert {name: lines for name, lines in lengths.items() if lines > MOST and name not in LONGER} == {}
    assert [name for name in LONGER if lengths[name] <= MOST] == [], "no longer an exception"

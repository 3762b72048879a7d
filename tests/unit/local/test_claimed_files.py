"""A file of a world is its own while it runs, and free again however the world ended."""

import subprocess
import sys

from local.claimed_files import claimed

HOLDER = """
import pathlib, sys
from local.claimed_files import claimed
with claimed(pathlib.Path(sys.argv[1])) as (path, file):
    print(path.name, flush=True)
    sys.stdin.read()
"""


def test_another_process_has_the_next_name_until_the_first_is_killed(tmp_path):
    path = tmp_path / "up.log"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline().strip() == "up.log"
        with claimed(path) as (mine, file):
            assert mine.name == "up-2.log"
            file.write("line\n")
            assert mine.read_text() == "line\n"
    finally:
        holder.kill()
        holder.communicate()
    with claimed(path) as (mine, _):
        assert mine.name == "up.log"

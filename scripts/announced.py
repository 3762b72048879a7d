"""
Run a Functions host that says nothing of its own readiness in a line that `local.supervision` reads.

    python -m scripts.announced PORT COMMAND...

runs the command, asks the app on that port of this machine for one of its files by GET until it has it (an app with no
functions answers 404), and then prints ``listening on http://127.0.0.1:PORT``. SIGTERM and the end of standard input
reach the command as SIGTERM. Exit code: the command's own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.request

FILE = "api/dashboard/static/dashboard.css"
EVERY = 0.5
"""Seconds between two questions."""
ANSWER = 5.0
"""Seconds that one may take."""


def main() -> int:
    """Run the command to its end."""
    port, command = int(sys.argv[1]), sys.argv[2:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.terminate())
    threading.Thread(target=_follow_input, args=(child,), daemon=True).start()
    while child.poll() is None and not _answers(port):
        time.sleep(EVERY)
    if child.poll() is None:
        print(f"listening on http://127.0.0.1:{port}", flush=True)
    return child.wait()


def _follow_input(child: subprocess.Popen[bytes]) -> None:
    """Stop the child when the process that started us is gone, which the end of our standard input tells."""
    sys.stdin.buffer.read()
    child.terminate()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{FILE}", timeout=ANSWER):
            return True
    except OSError:  # an answer that is an error is one too
        return False


if __name__ == "__main__":
    sys.exit(main())

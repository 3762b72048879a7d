"""
A ``python`` that has loaded ``sync`` already: for commands that are typed in great number and each do little.

Loading takes a second of processor time, which is most of what such a command takes. So one process loads once and
forks for each ``python -m sync …`` that a shell runs: with that command's arguments, environment, folder and files, and
with its exit status. Whatever else ``python`` is asked for goes to the real one.
"""

import atexit
import contextlib
import functools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

_LARGEST = 1 << 16

_SHIM = """#!{real} -IS
import json, os, socket, sys
if sys.argv[1:3] != ["-m", "sync"]:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = [sys.argv[3:], dict(os.environ), os.getcwd()]
socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
sys.exit(int(server.recv(8) or b"1"))
"""


@contextlib.contextmanager
def warm_python(project: Path) -> Iterator[Path]:
    """Give, for the length of the block, a folder for the ``PATH`` whose ``python`` runs the project's ``sync``."""
    with tempfile.TemporaryDirectory() as folder:  # addresses of sockets have to be short
        address, shim = f"{folder}/socket", Path(folder) / "python"
        shim.write_text(_SHIM.format(real=sys.executable, address=address))
        shim.chmod(0o700)
        server = subprocess.Popen([sys.executable, __file__, address], cwd=project, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(str(project.resolve())), "it did not load the project"
            yield Path(folder)
        finally:
            server.kill()
            server.wait()


@functools.cache
def python_of_this_run() -> str:
    """Return a ``python`` for the project as it is here; all tests of this process share it, and it ends with them."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return str(stack.enter_context(warm_python(Path(__file__).parents[2])) / "python")


def serve(address: str) -> None:
    """Load, say so, and fork for each who asks."""
    sys.path[0] = str(Path.cwd())
    import sync.bootstrap
    import sync.cli

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write(f"{sync.cli.__file__}\n")
    sys.stdout.flush()
    while True:
        asking, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(asking)
        asking.close()


def _answer(asking: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked, files, _, _ = socket.recv_fds(asking, _LARGEST, 3)
    arguments, environment, folder = json.loads(asked)
    for number, file in enumerate(files):
        os.dup2(file, number)
    # The streams of this process are of other files: one knows whether its file can be sought, and how it is buffered.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 -- as the interpreter does
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["sync", *arguments]
    code = 0
    try:
        runpy.run_module("sync", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 -- as the interpreter does with an uncaught error
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    asking.send(str(code).encode())
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])

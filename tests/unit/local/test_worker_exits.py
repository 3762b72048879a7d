"""When the exits of a worker are one too many for its host, and what a run meets whose worker has just been killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from local.host.worker_process import FORGIVEN_AFTER, Exits

ROOT = Path(__file__).parents[3]

APP = """
import asyncio
import azure.functions as func

app = func.FunctionApp()


@app.queue_trigger(arg_name="message", queue_name="work", connection="AzureWebJobsStorage")
async def work(message: func.QueueMessage) -> None:
    if message.get_body() == b"hang":
        await asyncio.Event().wait()
"""

HOST = """
import asyncio
import sys
from pathlib import Path

from local.host.messages import TypedData
from local.host.worker import FunctionError
from local.host.worker_process import WorkerProcess


async def main():
    worker = await WorkerProcess.start(Path(sys.argv[1]), limit=3.0, restart=0.0)
    try:
        await worker.invoke(worker.functions["work"], TypedData(string="hang"))
    except FunctionError:
        print("killed")
    await worker.invoke(worker.functions["work"], TypedData(string="go on"))
    print("done")


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("times", "ends"),
    [
        ([0.0, 1.0], False),
        ([0.0, 1.0, 2.0], True),
        ([0.0, FORGIVEN_AFTER, 2 * FORGIVEN_AFTER], True),  # each within half an hour of the one before
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER], False),
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER, 3.0 + FORGIVEN_AFTER], False),
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER, 3.0 + FORGIVEN_AFTER, 4.0 + FORGIVEN_AFTER], True),
    ],
)
def test_the_third_exit_without_half_an_hour_between_ends_the_host(times: list[float], ends: bool) -> None:
    exits = Exits()
    assert [exits.note(at) for at in times] == [*(False for _ in times[1:]), ends]


def test_a_run_right_after_the_kill_of_a_worker_is_given_to_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(APP)
    done = subprocess.run(  # apart: a worker ends with the process that started it
        [sys.executable, "-c", HOST, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["killed", "done"], done.stderr

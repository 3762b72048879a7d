"""``python -m local up`` with the stand-in host: what the command does around the host, without the host."""

import asyncio
import sys

from local.visits import announce, visiting
from local.world import Plan


def host(port):
    return [sys.executable, "-m", "local.leash", "-m", "tests.integration.stand_ins.host", str(port)]


if __name__ == "__main__":
    sys.exit(asyncio.run(visiting(Plan(host=host), sys.stderr.write, announce)))

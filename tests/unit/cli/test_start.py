"""Commands that ask no service do not wait for the clients of services to be loaded."""

import subprocess
import sys

LOADED = "import sys, sync.cli; print([name for name in sys.modules if name.split('.')[0] in ('azure', 'aiohttp')])"


def test_the_command_line_begins_without_the_clients_of_azure():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

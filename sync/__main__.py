"""``python -m sync`` and the command ``dicom-fhir-sync``: see `sync.cli`."""

import signal
import sys

EXIT_INTERRUPTED = 130
"""Ctrl-C, as a shell reports SIGINT."""


def run(prog_name: str = "dicom-fhir-sync") -> None:
    """
    Run the command line and end the process; Ctrl-C at any moment ends it without a traceback.

    Parameters
    ----------
    prog_name
        What usage lines call the program.
    """
    try:
        from sync.cli import app  # noqa: PLC0415 -- Ctrl-C while modules load must end as quietly as later

        app(prog_name=prog_name)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end would show where it was


if __name__ == "__main__":
    run("python -m sync")

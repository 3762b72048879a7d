"""``python -m sync`` and the command ``dicom-fhir-sync``: see `sync.cli`."""

import errno
import gc
import os
import signal
import sys

EXIT_INTERRUPTED = 130
"""Ctrl-C, as a shell reports SIGINT."""

EXIT_PIPE = 141
"""The reader of standard output went away, as a shell reports SIGPIPE."""

EXIT_OUTPUT = 74
"""Standard output takes no more, as of a full disk: EX_IOERR of sysexits.h."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


def run(prog_name: str = "dicom-fhir-sync") -> None:
    """
    Run the command line and end the process.

    Ctrl-C at any moment ends it without a traceback; so does a standard output that takes no more.

    Parameters
    ----------
    prog_name
        What usage lines call the program.
    """
    try:
        from sync.cli import app  # noqa: PLC0415 -- Ctrl-C while modules load must end as quietly as later

        try:
            app(prog_name=prog_name)
        finally:
            sys.stdout.flush()  # here, where its failure can be told; the interpreter's own at exit cannot
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except OSError as problem:
        if problem.errno not in {*_FULL, errno.EPIPE} or problem.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if problem.errno == errno.EPIPE:
            sys.exit(EXIT_PIPE)
        sys.stderr.write(f"standard output: {problem.strerror}\n")
        sys.exit(EXIT_OUTPUT)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end would show where it was
        gc.freeze()  # it would look twice through all that was loaded, for a fifth of a second of every command


if __name__ == "__main__":
    run("python -m sync")

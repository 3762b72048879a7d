"""``python -m sync`` and the command ``dicom-fhir-sync``: see `sync.cli`."""

import errno
import gc
import io
import os
import signal
import sys

EXIT_INTERRUPTED = 130
"""Ctrl-C, as a shell reports SIGINT."""

EXIT_PIPE = 141
"""The reader of standard output went away, as a shell reports SIGPIPE."""

EXIT_OUTPUT = 74
"""Standard output takes no more, as of a full disk, or is closed: EX_IOERR of sysexits.h."""

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
    refusals = {*_FULL, errno.EPIPE, *_open_closed_streams()}
    _escape_what_the_encoding_lacks()
    try:
        from sync.cli import app  # noqa: PLC0415 -- Ctrl-C while modules load must end as quietly as later

        try:
            app(prog_name=prog_name)
        finally:
            sys.stdout.flush()  # here, where its failure can be told; the interpreter's own at exit cannot
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except OSError as problem:
        if problem.errno not in refusals or problem.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if problem.errno == errno.EPIPE:
            sys.exit(EXIT_PIPE)
        sys.stderr.write(f"standard output: {problem.strerror}\n")
        sys.exit(EXIT_OUTPUT)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end would show where it was
        gc.freeze()  # it would look twice through all that was loaded, for a fifth of a second of every command


def _open_closed_streams() -> set[int]:
    """Replace streams that the caller closed, which are None; return what a write to standard output then raises."""
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is not None:
        return set()
    # It refuses writes, so lost results are told like those of a full disk.
    sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    return {errno.EBADF}


def _escape_what_the_encoding_lacks() -> None:
    """Write characters that a terminal's encoding lacks, as of object names, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    run("python -m sync")

"""
Explains why a service gave no answer.

The exceptions of the HTTP and Azure libraries come in; a short text goes out for the details of errors, whose readers
need not know either library. The exceptions' own texts hold addresses, and so names of blobs: none of them is kept.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence

LATE = "no answer in time"
ENDED = "the connection ended before the answer"
NO_CONNECTION = "no connection"
NO_CONNECTION_YET = "no connection in time"

_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no TLS connection"),
    (socket.gaierror, "no address is known for its host name"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, ENDED),
)
"""Causes that the operating system raises, the most specific first."""


def reason_of(problem: BaseException, kinds: Sequence[tuple[type[BaseException], str]]) -> str:
    """
    Return why there is no answer: the operating system's cause, else by the kind of the library's exception.

    Parameters
    ----------
    kinds
        The library's exceptions and our words for them, subclasses before their bases.
    """
    by_kind = next((words for kind, words in kinds if isinstance(problem, kind)), "no answer")
    return cause_of(problem) or by_kind


def cause_of(problem: BaseException) -> str:
    """Return the operating system's cause below a library's exception; empty if it is none of these."""
    for cause in _causes(problem):
        for kind, words in _CAUSES:
            if isinstance(cause, kind):
                return words
    return ""


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes, each once; several attempts come as a group."""
    waiting, seen = [problem], set[int]()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        # azure-core keeps the exception that it translates in an attribute.
        waiting += [cause.__context__, cause.__cause__, getattr(cause, "inner_exception", None)]
        waiting += cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()

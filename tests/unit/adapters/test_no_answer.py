"""Why an HTTP service gave no answer is told in our words, without the name of a library's class or its text."""

import socket
import ssl

import httpx
import pytest

from sync.adapters.http.no_answer import words_of

TEXT = "https://host/Zztestperson"


def caused(problem, cause):
    """As httpx raises it: its own exception, that of httpcore, and below the system's."""
    problem.__cause__ = RuntimeError(TEXT)
    problem.__cause__.__context__ = ExceptionGroup(TEXT, [cause]) if isinstance(cause, OSError) else cause
    return problem


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (httpx.ConnectError(TEXT), "no connection"),
        (caused(httpx.ConnectError(TEXT), ConnectionRefusedError(TEXT)), "the connection was refused"),
        (caused(httpx.ConnectError(TEXT), socket.gaierror(TEXT)), "no address is known for its host name"),
        (caused(httpx.ConnectError(TEXT), ssl.SSLCertVerificationError(TEXT)), "its certificate is not trusted"),
        (caused(httpx.ReadError(TEXT), ConnectionResetError(TEXT)), "the connection ended before the answer"),
        (httpx.ConnectTimeout(TEXT), "no connection in time"),
        (httpx.ReadTimeout(TEXT), "no answer in time"),
        (TimeoutError(TEXT), "no answer in time"),
        (httpx.RemoteProtocolError(TEXT), "the connection ended before the answer"),
        (httpx.DecodingError(TEXT), "its answer cannot be decoded"),
        (httpx.UnsupportedProtocol(TEXT), "the address is neither http nor https"),
        (httpx.InvalidURL(TEXT), "the address is not valid"),
        (httpx.HTTPError(TEXT), "no answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_it_is_told_in_our_words(problem, told):
    assert words_of(problem) == told


async def test_a_refused_connection_is_told_as_the_library_really_raises_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get(f"http://127.0.0.1:{port}/")
    assert words_of(caught.value) == "the connection was refused"


def test_causes_that_lead_in_a_circle_end():
    problem = httpx.ReadTimeout(TEXT)
    problem.__context__ = RuntimeError(TEXT)
    problem.__context__.__context__ = problem
    assert words_of(problem) == "no answer in time"

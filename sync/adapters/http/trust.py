"""
The certificate authorities that every client of this process trusts.

    authorities of httpx, or of SSL_CERT_FILE and SSL_CERT_DIR  ->  one TLS context  ->  clients of all services

Reading them takes 50 ms of processor time, and a process has a client for each of its services.
"""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Return the TLS context of clients without a client certificate; always the same object."""
    return httpx.create_ssl_context()

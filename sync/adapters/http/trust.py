"""
The certificate authorities that every client of this process trusts.

    authorities of httpx, or of SSL_CERT_FILE and SSL_CERT_DIR  ->  one TLS context  ->  clients of all services

To read them takes 50 ms of a processor, and a process has a client for each of its services.
"""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Return the TLS context of clients that show no certificate of their own; the same at each call."""
    return httpx.create_ssl_context()

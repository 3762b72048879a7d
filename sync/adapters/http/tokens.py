"""The source of bearer tokens for the HTTP adapters; `sync.bootstrap` makes the real one."""

from __future__ import annotations

from typing import Protocol


class TokenSource(Protocol):
    """Tokens for one service."""

    async def token(self, *, refresh: bool = False) -> str:
        """Return a token for the service; a new one when ``refresh``."""
        ...

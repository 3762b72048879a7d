"""Commands on services in memory."""

import asyncio
from types import SimpleNamespace


def runs_on(monkeypatch, module, **parts):
    """Give the commands of a module these parts of `sync.bootstrap.Running`, in place of connected ones."""
    running = SimpleNamespace(**parts)
    monkeypatch.setattr(module, "with_services", lambda work, **_: asyncio.run(work(running)))

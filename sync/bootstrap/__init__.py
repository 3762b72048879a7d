"""
Settings in, running services out, once per process.

Azure Functions calls every function of a worker process on one event loop; the services are built on the first call and
shared by all, which is what lets concurrent invocations share connections and table transactions.
"""

from __future__ import annotations

from sync.bootstrap.deliveries import take
from sync.bootstrap.process import ready, running
from sync.bootstrap.wiring import Running, connect, start

__all__ = ["Running", "connect", "ready", "running", "start", "take"]

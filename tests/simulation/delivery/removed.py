"""A rule of delivery or of the timers, the edit that removes it, and the scene that goes wrong then."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from sync.errors import SyncError
from tests.simulation.delivery.scenes import Modules, Scene
from tests.simulation.gateway.virtual_time import NothingWillHappen, run
from tests.simulation.mutants import without_rule

CHAIN = (
    "sync.telemetry.budgets",
    "sync.protocol.attempts",
    "sync.delivery.watchdog",
    "sync.delivery.folders",
    "sync.delivery.deletions",
    "sync.delivery.lost_messages",
    "sync.delivery.undelivered_events",
    "sync.projection.last_record",
    "sync.delivery.backoff",
    "sync.delivery.handlers",
    "sync.delivery.isolation",
    "sync.walks.walk",
    "sync.walks.suspects",
    "sync.walks.sharing",
    "sync.feeds.reader",
    "sync.verify.reconcile",
    "sync.walks.verification",
    "sync.monitoring.timers",
)
"""Modules that import one another in this order: a mutant of one needs fresh copies of those above it."""


def real() -> Modules:
    """Return the modules as they are, by their last name."""
    return {name.rpartition(".")[2]: import_module(name) for name in CHAIN}


@dataclass(frozen=True)
class Removed:
    """One rule, the edits that remove it, and the scene by which that shows."""

    rule: str
    module: str
    """Below ``sync``."""
    scene: Scene
    edits: tuple[tuple[str, str], ...]

    def modules(self) -> Modules:
        """Return copies of the modules without the rule; the real ones stay as they are."""
        modules = without_rule(CHAIN, {f"sync.{self.module}": self.edits}, rule=self.rule)
        return {name.rpartition(".")[2]: module for name, module in modules.items()}

    def wrong(self) -> list[str]:
        """Play the scene without the rule; return what is wrong."""
        try:
            return run(self.scene(self.modules()))
        except (SyncError, NothingWillHappen) as failure:
            return [f"{type(failure).__name__} was raised"]


def without(rule: str, module: str, scene: Scene, old: str, new: str = "", *more: tuple[str, str]) -> Removed:
    """Return a rule whose text is replaced, or taken out."""
    return Removed(rule, module, scene, ((old, new), *more))

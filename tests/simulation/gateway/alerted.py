"""
A world behind gateways whose alerts are evaluated: an outage is told within its threshold, and told to be over after.

The timers run as `function_app` composes them. What is told is compared with what is so: since when FHIR lacks what the
store holds, and for how long the state or its queues did not answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sync.delivery import handlers, lost_messages
from sync.monitoring.alerts import watch
from sync.monitoring.alerts.evaluation import CURSOR, Evaluated
from sync.monitoring.alerts.rules import BY_CODE
from sync.monitoring.history import Recorder
from sync.monitoring.timers import Phase, run_phases
from sync.ports import Notice, ObjectQueue, Services
from sync.telemetry.instruments import DIRTY_AGE, Instrument
from sync.telemetry.telemetry import Telemetry
from sync.verify.reconcile import reconcile
from tests.simulation.gateway.schedules import KEPT, OF_THE_EHR, OTHERS
from tests.simulation.gateway.virtual_time import START, run
from tests.simulation.gateway.world import SETTINGS, GatewayWorld

OUTAGE, RECOVERY = 900.0, 1000.0
"""Seconds that a gateway lies, which is longer than any threshold; and after which all has to be told to be over."""

EVALUATION = 30.0
"""Seconds between two evaluations, as `function_app` has it."""

SLACK = 3 * EVALUATION
"""Seconds for the event to be taken, and for the evaluation after the threshold."""

TELLS = {"fhir": "alert.lag", "blobs": "alert.timer", "state": "alert.stopped", "queues": "alert.stopped"}
"""By the service that the gateway stands before: the alert that tells of any outage of it, whatever others do."""


class Channel:
    """Keeps what was sent, and when."""

    def __init__(self) -> None:
        self.got: list[Notice] = []

    async def send(self, notice: Notice) -> None:
        """Keep it."""
        self.got.append(notice)

    def repeated(self) -> list[str]:
        """Return the steps of alerts that were sent more than once."""
        sent = Counter((alert.alert, alert.code, alert.step) for alert in self.got)
        return [f"{code} was {step} {times} times" for (_, code, step), times in sent.items() if times > 1]

    def times(self, code: str, step: str) -> list[float]:
        """Return the seconds of the world at which an alert was raised or cleared."""
        return [(alert.at - START).total_seconds() for alert in self.got if (alert.code, alert.step) == (code, step)]


class _Queues:
    """How long the queues are, as the host's messages say."""

    def __init__(self, world: AlertedWorld) -> None:
        self._world = world

    async def depths(self) -> dict[str, int]:
        """Return queue name -> length, of those that hold anything."""
        held = [message.queue for message in (*self._world.messages, *self._world.leased)]
        return {name: held.count(name) for name in ("objects", "studies") if name in held}

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> since when its oldest message has been visible."""
        visible: dict[str, float] = {}
        for message in self._world.messages:
            if message.visible <= self._world.now and message.queue in among:
                visible[message.queue] = min(message.visible, visible.get(message.queue, message.visible))
        return {name: START + timedelta(seconds=at) for name, at in visible.items()}


class _ObjectQueue(ObjectQueue):
    """The queue ``objects``, which holds what the host has leased too."""

    def __init__(self, world: AlertedWorld) -> None:
        self._world = world

    async def send(self, text: str, delay: float = 0.0) -> None:
        """Send a message."""
        await self._world.store.object_queue.send(text, delay)

    async def is_empty(self) -> bool:
        """Return whether it holds none."""
        return "objects" not in await _Queues(self._world).depths()


class _Heard(Telemetry):
    """Notes when a gauge is measured; where none is, Azure Monitor raises ``alert.unmeasured``."""

    def __init__(self, world: AlertedWorld) -> None:
        super().__init__()
        self.gauged: list[float] = []
        self._world = world

    def measure(self, instrument: Instrument, value: float = 1, **attributes: str) -> None:
        """Measure."""
        super().measure(instrument, value, **attributes)
        if instrument is DIRTY_AGE:
            self.gauged.append(self._world.now)


class AlertedWorld(GatewayWorld):
    """With all timers that tell of outages."""

    every = EVALUATION

    def __init__(self, seed: int, *, hosts: int = 1, **more: Any) -> None:
        self.telemetry, self.channel = _Heard(self), Channel()
        super().__init__(seed, **more)
        self.recorders = [
            Recorder(self.telemetry, self._behind("metrics"), self.clock, worker=f"w{number}")
            for number in range(hosts)
        ]

    def _behind(self, name: str) -> Any:
        return self.behind(getattr(self.store, name), "state")

    def process(self) -> Services:
        """Start a process."""
        ports = {name: self._behind(name) for name in ("metrics", "tallies", "history")}
        ports |= {"queues": self.behind(_Queues(self), "queues")}
        ports |= {"object_queue": self.behind(_ObjectQueue(self), "queues")}
        return replace(super().process(), telemetry=self.telemetry, **ports)

    def timers(self) -> None:
        """Start what `function_app` starts every 30 seconds, and every minute; hosts with ids of their own all do."""
        for recorder in self.recorders:
            self._timers(recorder)

    def _timers(self, recorder: Recorder) -> None:
        s = self.process()
        lost = partial(lost_messages.enqueue_lost_objects, s, s.queues, self.blobs)
        phases = (Phase(name="studies", work=lambda: handlers.sweep(s)), Phase(name="objects", work=lost))
        self.start("sweep", run_phases("sweep", phases, s))
        self.start("watch", watch.watch(s, recorder=recorder, channels={"webhook": self.channel}, listing=self.blobs))
        if round(self.now / EVALUATION) % 2:
            phase = Phase(name="slice", work=lambda: reconcile(s, self.blobs))
            self.start("reconcile", run_phases("reconcile", (phase,), s))

    def raised(self) -> set[str]:
        """Return the codes of the alerts that are raised."""
        row = self.store.cursors.table.get(CURSOR)
        return {code for code, alert in Evaluated.of(row.value).states.items() if alert.raised} if row else set()


def told(service: str, lie: str, *, hosts: int = 1) -> list[str]:
    """Let one gateway lie in one way for longer than any threshold, then no more; say what is told wrong."""

    async def played() -> list[str]:
        w = AlertedWorld(1, only={service: (lie,)}, hosts=hosts)
        for name, content in KEPT:
            w.put(name, content, keep=True)
        w.put("c/1", OTHERS[2])
        await w.live(90)
        wrong = [*w.difference(), *(f"{code} is raised in peace" for code in w.raised())]
        w.put("a/2", OTHERS[0])
        w.put("b/2", OF_THE_EHR)
        w.delete("c/1")
        began = w.now
        with w.lying(service, all_the_time=True):
            await w.live(OUTAGE)
            hurts = bool(w.difference())
        ended = w.now
        await w.live(RECOVERY)
        wrong += _told_wrong(w, service, began, ended) if hurts else []
        wrong += [f"{code} is raised though all is over" for code in w.raised()]
        wrong += w.channel.repeated()
        return wrong + w.difference() + w.wrong

    return run(played())


def _told_wrong(w: AlertedWorld, service: str, began: float, ended: float) -> list[str]:
    code = TELLS[service]
    raised, cleared = w.channel.times(code, "raised"), w.channel.times(code, "cleared")
    latest = began + BY_CODE[code].threshold(SETTINGS.alert) + SLACK
    wrong = []
    if service in ("state", "queues"):
        # The app cannot tell what it cannot keep: that no gauge comes tells, and the app itself afterwards.
        latest = ended + SLACK
        wrong += ["gauges are measured"] if [at for at in w.telemetry.gauged if began + SLACK < at < ended] else []
    if not raised or raised[0] > latest:
        wrong.append(f"{code} was raised at {raised}, not by {latest}")
    if not cleared or cleared[0] < ended:
        wrong.append(f"{code} was cleared at {cleared}, the outage ended at {ended}")
    return wrong

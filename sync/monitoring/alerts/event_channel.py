"""Sends alerts as result events: through the same outbox and to the same topic as the events of studies."""

from __future__ import annotations

from sync.model.result_events import AlertCleared, AlertRaised, ResultEvent
from sync.ports import AlertChannel, Announce, Notice
from sync.protocol.outbox import add_event, publish_pending


class EventChannel(AlertChannel):
    """Puts each notice into the outbox under its own id, so that a repeated notice is there once."""

    def __init__(self, s: Announce) -> None:
        self._s = s

    async def send(self, notice: Notice) -> None:
        """Put the notice into the outbox, and deliver it if the topic answers; otherwise the sweeper delivers it."""
        kind = AlertRaised if notice.step == "raised" else AlertCleared
        payload = kind(
            alert=notice.alert,
            code=notice.code,
            severity="critical" if notice.severity == "critical" else "warning",
            text=notice.text,
            value=notice.value,
            threshold=notice.threshold,
        )
        await add_event(ResultEvent.of(payload, id=notice.id, subject=notice.code, at=notice.at), self._s)
        await publish_pending(self._s)

"""When alerts are raised."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from sync.config.forms import PlainKey, Webhook
from sync.config.section import PREFIX, Section
from sync.errors import ConfigError

EVALUATED_EVERY = 30.0
"""Seconds between two evaluations of the alerts, by the timer of the app and by whoever watches from outside."""


class AlertSettings(Section):
    """When alerts are raised, and whom they reach; a figure above its threshold raises."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "ALERT_")

    lag_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that the oldest outstanding study may wait: the service level."""

    queue_age_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that the oldest visible message of a queue may wait."""

    fhir_failing: Annotated[float, Field(ge=0)] = 2.0
    """Studies that may fail to be written within three minutes because FHIR does not answer."""

    fhir_throttling: Annotated[float, Field(ge=0)] = 50.0
    """Answers 429 that FHIR may give within five minutes."""

    access: Annotated[float, Field(ge=0)] = 0.0
    """Deliveries that may fail within three minutes for credentials or a certificate."""

    dead_letters: Annotated[float, Field(ge=0)] = 10.0
    """Dead letters that may be written within ten minutes."""

    poison: Annotated[float, Field(ge=0)] = 0.0
    """Messages that may be set aside as poison within ten minutes."""

    defect: Annotated[float, Field(ge=0)] = 0.0
    """Failures by defects of the sync itself that may happen within ten minutes."""

    feed_lag_seconds: Annotated[float, Field(gt=0)] = 900.0
    """Seconds that a change feed may neither move nor be found at its end."""

    missing_events_seconds: Annotated[float, Field(gt=0)] = 900.0
    """Seconds that an object may be in the source without any event that told of it."""

    drift: Annotated[float, Field(ge=0)] = 0.0
    """Disagreements between source, ledger and FHIR that may be open."""

    stopped_seconds: Annotated[float, Field(gt=0)] = 180.0
    """Seconds that the function app may go without evaluating these alerts, which it does every half minute."""

    clear_after_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds that a figure must stay at or below four fifths of its threshold before its alert is cleared."""

    webhook: Webhook = Field(default="", repr=False)
    """URL that gets alerts by POST: https, or on this machine; empty: none. It may hold a secret: no log
    has it."""

    webhook_shape: Literal["cloudevents", "teams", "slack", "pagerduty"] = "cloudevents"
    """What the webhook understands: a CloudEvent, a card for Teams, a Slack message, PagerDuty's Events API v2."""

    webhook_key: PlainKey = Field(default="", repr=False)
    """Integration key of PagerDuty, for that shape only."""

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.webhook and self.webhook_shape == "pagerduty" and not self.webhook_key:
            raise ConfigError(f"{PREFIX}ALERT_WEBHOOK_KEY", "is missing; PagerDuty needs its integration key")
        return self

"""Settings of the alerts: thresholds and channels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from sync.config.forms import PlainKey, Webhook
from sync.config.section import PREFIX, Section
from sync.errors import ConfigError

EVALUATED_EVERY = 30.0
"""Seconds between two evaluations of the alerts, by the app's timer and by `alerts watch`."""


class AlertSettings(Section):
    """Alert thresholds and channels; a value above its threshold raises the alert."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "ALERT_")

    lag_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Maximum age in seconds of the oldest dirty study: the service level."""

    queue_age_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Maximum age in seconds of the oldest message in a queue."""

    fhir_failing: Annotated[float, Field(ge=0)] = 2.0
    """Studies that may fail within three minutes because FHIR does not answer."""

    fhir_throttling: Annotated[float, Field(ge=0)] = 50.0
    """Number of 429 answers from FHIR allowed within five minutes."""

    access: Annotated[float, Field(ge=0)] = 0.0
    """Deliveries that may fail within three minutes because of credentials or a certificate."""

    dead_letters: Annotated[float, Field(ge=0)] = 10.0
    """Dead letters allowed within ten minutes."""

    poison: Annotated[float, Field(ge=0)] = 0.0
    """Poison messages allowed within ten minutes."""

    defect: Annotated[float, Field(ge=0)] = 0.0
    """Failures by defects of the sync itself allowed within ten minutes."""

    feed_lag_seconds: Annotated[float, Field(gt=0)] = 900.0
    """Maximum seconds since a change feed last moved or was found at its end."""

    missing_events_seconds: Annotated[float, Field(gt=0)] = 900.0
    """Maximum age in seconds of a source object for which no event arrived."""

    stuck_deliveries: Annotated[float, Field(ge=0)] = 0.0
    """Deliveries cut off because they outlived their budget, allowed within fifteen minutes."""

    held_removals: Annotated[float, Field(ge=0)] = 0.0
    """Removals past the ceiling, held for an operator, that are allowed."""

    drift: Annotated[float, Field(ge=0)] = 0.0
    """Open differences between source, ledger and FHIR that are allowed."""

    timer_failing_seconds: Annotated[float, Field(gt=0, le=840)] = 600.0
    """Seconds for which a phase of a timer may fail without one run that succeeds."""

    stopped_seconds: Annotated[float, Field(gt=0)] = 180.0
    """Maximum seconds since the app last evaluated alerts; it does so every 30 seconds."""

    clear_after_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds that a value must stay at or below 80 % of its threshold before its alert clears."""

    webhook: Webhook = Field(default="", repr=False)
    """URL that receives alerts by POST: https, or a local address; if empty, none are sent. Never logged, because it
    may
    hold a secret."""

    webhook_shape: Literal["cloudevents", "teams", "slack", "pagerduty"] = "cloudevents"
    """Format of the webhook: CloudEvent, Teams card, Slack message, or PagerDuty Events API v2."""

    webhook_key: PlainKey = Field(default="", repr=False)
    """PagerDuty integration key, for the format ``pagerduty`` only."""

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.webhook and self.webhook_shape == "pagerduty" and not self.webhook_key:
            raise ConfigError(f"{PREFIX}ALERT_WEBHOOK_KEY", "is missing; PagerDuty needs its integration key")
        return self

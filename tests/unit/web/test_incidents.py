"""From when to when an alert was active, for the shading of the charts."""

from datetime import UTC, datetime, timedelta

from sync.monitoring.history import Chart, Line
from sync.monitoring.status_model import ActiveAlert
from sync.telemetry.instruments import ALERT_STEP, ALERTS, CODE
from sync.telemetry.measurements import Measurement
from sync.web.overview import incidents

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POINTS = 10


def chart(**steps):
    lines = [
        Line(
            name=ALERTS.name,
            attributes=((ALERT_STEP.key, step), (CODE.key, "alert.lag")),
            points=tuple(Measurement(1, 1.0, 1.0) if n in places else None for n in range(POINTS)),
        )
        for step, places in steps.items()
    ]
    empty = Line(name="other", attributes=(), points=(None,) * POINTS)
    return Chart(start=START, step=60, lines=(empty, *lines))


def active(minutes):
    raised_at = START + timedelta(minutes=minutes)
    return ActiveAlert(
        code="alert.lag", severity="critical", title="", hint="", value=1, raised_at=raised_at, acknowledged_by=None
    )


def test_an_alert_that_was_raised_and_cleared_is_shaded_between():
    assert incidents(chart(raised={2}, cleared={5})) == ((2, 5),)


def test_one_that_was_raised_before_the_chart_is_shaded_to_its_end():
    assert incidents(chart(cleared={4})) == ((0, 4),)


def test_one_that_was_raised_before_the_chart_and_is_still_active_is_shaded_throughout():
    assert incidents(chart(), [active(-600)]) == ((0, POINTS - 1),)


def test_one_that_is_active_is_shaded_from_when_it_was_raised():
    assert incidents(chart(raised={7}), [active(7)]) == ((7, POINTS - 1),)
    assert incidents(chart(raised={1, 7}, cleared={3}), [active(7)]) == ((1, 3), (7, POINTS - 1))


def test_without_alerts_nothing_is_shaded():
    assert incidents(chart()) == ()

"""What is measured, and that neither a name nor a value of a file can be."""

import re

import pytest

from sync.telemetry import instruments
from sync.telemetry.instruments import ACTIONS, BY_NAME, INSTRUMENTS, Kind
from sync.telemetry.measurements import MeasurementKey
from sync.telemetry.spans import PROJECT_STUDY
from sync.telemetry.telemetry import MOST_ATTRIBUTE_SETS, Telemetry

UNITS = {"s", "By"}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda of_ours: of_ours.name)
def test_every_instrument_is_named_as_opentelemetry_wants(instrument):
    assert re.fullmatch(r"dicom_sync(\.[a-z_]+)+", instrument.name)
    assert instrument.unit in UNITS or re.fullmatch(r"\{[a-z_]+\}", instrument.unit)
    assert instrument.description.endswith(".")
    assert (instrument.kind is Kind.HISTOGRAM) == bool(instrument.bounds)
    assert list(instrument.bounds) == sorted(instrument.bounds)
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", attribute.key) for attribute in instrument.attributes)


def test_every_instrument_is_in_the_table_once():
    declared = [
        instrument for instrument in vars(instruments).values() if isinstance(instrument, instruments.Instrument)
    ]
    assert sorted(instrument.name for instrument in declared) == sorted(instrument.name for instrument in INSTRUMENTS)
    assert len(BY_NAME) == len(INSTRUMENTS)


@pytest.mark.parametrize("hostile", ["Doe^Jane", "1.2.840.113619.2.1", "Doe", "2.25.4711", "a b", "", "x" * 300])
def test_no_attribute_takes_a_value_of_a_file(hostile):
    for instrument in INSTRUMENTS:
        given = {attribute.name: hostile for attribute in instrument.attributes}
        assert all(value == "other" for _, value in instrument.attributes_of(given))


def test_an_action_is_measured_if_it_has_an_instrument():
    telemetry = Telemetry()
    telemetry.event("study.postponed", study="a1b2", code="fhir.throttled", value=3, seconds=5.0)
    telemetry.event("object.synced", object="a1b2")
    telemetry.event("nothing.known")
    assert set(telemetry.take()) == {
        MeasurementKey("dicom_sync.studies.postponed", (("error.type", "fhir.throttled"),)),
        MeasurementKey("dicom_sync.objects", (("dicom_sync.outcome", "synced"),)),
    }


def test_every_action_gives_attributes_that_its_instrument_takes():
    for action, measured in ACTIONS.items():
        values = dict(measured.instrument.attributes_of(measured.attributes)).values()
        assert len(values) == len(measured.attributes), action
        assert "other" not in values


def test_what_was_taken_is_not_taken_again():
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.count("fhir.retries")
    assert telemetry.take()[MeasurementKey("dicom_sync.fhir.retries")].total == 2
    assert telemetry.take() == {}
    telemetry.count("fhir.retries")
    assert telemetry.take()[MeasurementKey("dicom_sync.fhir.retries")].total == 1


def test_attributes_cannot_grow_without_bound():
    telemetry = Telemetry()
    for n in range(3 * MOST_ATTRIBUTE_SETS):
        word = "".join(chr(97 + n // 26**place % 26) for place in range(3))
        telemetry.measure(instruments.DEAD_LETTERS, code=f"made.{word}")
    samples = telemetry.take()
    assert len(samples) == MOST_ATTRIBUTE_SETS + 1
    assert sum(sample.total for sample in samples.values()) == 3 * MOST_ATTRIBUTE_SETS


def test_a_sink_gets_each_measurement_as_it_is_kept():
    class Kept:
        def __init__(self):
            self.seen = []

        def measured(self, instrument, value, attributes):
            self.seen.append((instrument.name, value, attributes))

    sink = Kept()
    Telemetry(sinks=[sink]).measure(instruments.QUEUE_AGE, 4.5, queue="studies", nonsense="Doe")
    assert sink.seen == [("dicom_sync.queue.age", 4.5, (("messaging.destination.name", "studies"),))]


def test_without_an_exporter_a_span_does_nothing():
    telemetry = Telemetry()
    with telemetry.span(PROJECT_STUDY, links=["nonsense"]) as span:
        span.note(outcome="written")
        assert telemetry.traceparent() == ""

"""
The one table of spans: names, roles and attributes as OpenTelemetry wants them.

    event or feed  ->  process objects / ingest object   ->  message of queue ``studies``, with its traceparent
    that message   ->  process studies / project study, linked to what sent it  ->  requests to the FHIR service

A study is projected once for many objects, so its span is linked to the span that sent the message and is not its
child. Attributes hold hashed keys, codes and counts: none can hold patient data. The address of a request is left out,
because it may name the Patient of an EHR.

Source: OpenTelemetry semantic conventions (messaging spans, HTTP client spans, ``error.type``).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sync.model.queues import OBJECTS_QUEUE, STUDIES_QUEUE
from sync.telemetry.instruments import CODE, METHOD, OBJECT_OUTCOME, RESOURCE_TYPE, STUDY_OUTCOME, Attribute

ERROR = CODE.key
"""Key of the failure: an error's code, the status of an answer, or the type of an exception; never a text."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class SpanRole(enum.Enum):
    """The role of a span in relation to other spans."""

    INTERNAL = "internal"
    CONSUMER = "consumer"
    CLIENT = "client"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A numeric attribute: its name in the code, and its OpenTelemetry key."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class SpanKind:
    """One kind of work; ``named_after`` are attributes whose values, all of closed sets, form the span's name."""

    role: SpanRole
    name: str = ""
    named_after: tuple[Attribute, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    numbers: tuple[Number, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, values: Mapping[str, object]) -> str:
        """Return the name of a span with these attributes."""
        parts = (attribute.value(values[attribute.name]) for attribute in self.named_after if attribute.name in values)
        return " ".join([self.name, *parts] if self.name else parts)

    def attributes_of(self, values: Mapping[str, object]) -> dict[str, str | int]:
        """Return the given attributes that this kind has, by key; others are left out."""
        texts = {
            attribute.key: attribute.value(values[attribute.name])
            for attribute in self.attributes
            if attribute.name in values
        }
        numbers = {number.key: values.get(number.name) for number in self.numbers}
        return {**texts, **{key: value for key, value in numbers.items() if isinstance(value, int)}}


OBJECT = Attribute(name="object", key="dicom_sync.object", form=re.compile(r"[0-9a-f]{20}-\d\.[0-9a-f]{40}"))
STUDY = Attribute(name="study", key="dicom_sync.study", form=re.compile(r"[0-9a-f]{40}"))
SERVER = Attribute(name="server", key="server.address", form=re.compile(r"[A-Za-z0-9.:_-]{1,253}"))
REFUSED = Attribute(name="refused", key=ERROR, form=re.compile(r"[45]\d\d"))
ATTEMPT = Number(name="attempt", key="dicom_sync.attempt")
PORT = Number(name="port", key="server.port")
STATUS_CODE = Number(name="status_code", key="http.response.status_code")


def _of_messages(queue: str) -> Mapping[str, str]:
    return {
        "messaging.system": "azure_queue_storage",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
    }


_INGEST = (OBJECT, OBJECT_OUTCOME, CODE)
_PROJECT = (STUDY, STUDY_OUTCOME, CODE)

INGEST_OBJECT = SpanKind(role=SpanRole.INTERNAL, name="ingest object", attributes=_INGEST, numbers=(ATTEMPT,))
"""An inspection of one object that a feed or a listing named."""

OBJECT_MESSAGE = SpanKind(
    role=SpanRole.CONSUMER,
    name="process objects",
    attributes=_INGEST,
    numbers=(ATTEMPT,),
    always=_of_messages(OBJECTS_QUEUE),
)
"""An inspection of one object that a message of queue ``objects`` named."""

PROJECT_STUDY = SpanKind(role=SpanRole.INTERNAL, name="project study", attributes=_PROJECT, numbers=(ATTEMPT,))
"""A study written to FHIR by a command."""

STUDY_MESSAGE = SpanKind(
    role=SpanRole.CONSUMER,
    name="process studies",
    attributes=_PROJECT,
    numbers=(ATTEMPT,),
    always=_of_messages(STUDIES_QUEUE),
)
"""A study written to FHIR because a message of queue ``studies`` named it."""

FHIR_REQUEST = SpanKind(
    role=SpanRole.CLIENT,
    named_after=(METHOD, RESOURCE_TYPE),
    attributes=(METHOD, RESOURCE_TYPE, SERVER, REFUSED),
    numbers=(PORT, STATUS_CODE),
)
"""One request to the FHIR service, such as ``POST Bundle``."""

SPANS = (INGEST_OBJECT, OBJECT_MESSAGE, PROJECT_STUDY, STUDY_MESSAGE, FHIR_REQUEST)


def is_traceparent(text: object) -> bool:
    """Return whether the text is a ``traceparent``. Source: W3C Trace Context, version 00."""
    return isinstance(text, str) and _TRACEPARENT.fullmatch(text) is not None

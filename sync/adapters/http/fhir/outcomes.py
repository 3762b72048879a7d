"""
Reads an OperationOutcome without its texts, which may quote patient data: issue codes and element paths.

Servers name the path in ``expression`` or ``location``; servers on the Firely .NET SDK only within ``diagnostics``. A
path consists only of a resource type and element names of R4, so no value can be taken for a path.

Source: FHIR R4 operationoutcome.html; microsoft/fhir-server, answers to invalid resources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

from sync.model.elements import part, parts, text

_ISSUES = 10
_PATHS = 3
"""Maximum number of paths of one issue that are shown."""

_CODE = re.compile(r"[a-z-]{1,40}")
_TYPES = "Bundle|Device|DiagnosticReport|DocumentReference|Endpoint|ImagingStudy|Observation|Patient"
_PATH = re.compile(rf"(?<![A-Za-z0-9./-])(?:{_TYPES})(?:\.[a-z][A-Za-z]{{0,40}}(?:\[\d{{1,5}}\])?){{1,10}}")
_INDEX = re.compile(r"\[\d+\]")

_NAMES = """
    account accounts active actor address age appliesTo assigner attachment authenticator author authorReference
    authorString basedOn birthDate bodySite bounds boundsDuration boundsPeriod boundsRange carrierAIDC carrierHRF
    category city code coding comment communication comparator compartment component conclusion conclusionCode
    connectionType contact contained content contentType context count countMax country creation custodian data
    dataAbsentReason date dayOfWeek deceased deceasedBoolean deceasedDateTime definition deleted denominator
    derivedFrom description details device deviceIdentifier deviceName diagnostics dimensions display
    distinctIdentifier district div docStatus duration durationMax durationUnit effective effectiveDateTime
    effectiveInstant effectivePeriod effectiveTiming encounter end endpoint entry entryType etag event
    expirationDate expression extension facilityType factor family focus format frequency frequencyMax fullUrl
    function gender generalPractitioner given hasMember hash header high id identifier ifMatch ifModifiedSince
    ifNoneExist ifNoneMatch imagingStudy implicitRules instance interpretation interpreter issue issued issuer
    jurisdiction language lastModified lastUpdated laterality line link location lotNumber low lowerLimit
    managingOrganization manufactureDate manufacturer maritalStatus masterIdentifier media meta method modality mode
    modelNumber modifierExtension multipleBirth multipleBirthBoolean multipleBirthInteger name note number
    numberOfInstances numberOfSeries numerator offset onBehalfOf organization origin other outcome owner parent
    partNumber partOf patient payloadMimeType payloadType performer period periodMax periodUnit photo postalCode
    practiceSetting preferred prefix presentedForm procedureCode procedureReference profile project property rank
    reasonCode reasonReference reference referenceRange referrer related relatesTo relation relationship repeat
    request resource response result resultsInterpreter safety score search security securityLabel serialNumber
    series severity sigFormat signature size sopClass source sourcePatientInfo specialization specimen start started
    state status statusReason subject suffix system systemType tag target targetFormat telecom text time timeOfDay
    timestamp title total type udiCarrier uid unit upperLimit url use userSelected value valueBoolean valueCode
    valueCodeableConcept valueDateTime valueInteger valuePeriod valueQuantity valueRange valueRatio valueSampledData
    valueString valueTime version versionId when who
"""
_ELEMENTS = frozenset(_NAMES.split())
"""Names of elements of the types that we write, and of the datatypes within them (R4 definitions)."""


def is_own(response: httpx.Response) -> bool:
    """Return whether the FHIR service itself reports the failure, with an OperationOutcome."""
    if "json" not in response.headers.get("Content-Type", "").lower():
        return False
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("resourceType") == "OperationOutcome"


def issues_of(response: httpx.Response | Any) -> str:
    """
    Return the codes and element paths of an outcome's issues, for a dead letter; empty if it is not an outcome.

    Parameters
    ----------
    response
        The answer, or the OperationOutcome of one entry of a Bundle.
    """
    outcome: Any = response
    if isinstance(response, httpx.Response):
        try:
            outcome = response.json()
        except (ValueError, RecursionError):
            return ""
    issues = parts(outcome, "issue") if isinstance(outcome, dict) else []
    return "; ".join(_issue(issue) for issue in issues[:_ISSUES])


def _issue(issue: Mapping[str, Any]) -> str:
    code = str(issue.get("code") or "")
    stated = issue.get("expression") or issue.get("location")
    paths = [str(path) for path in stated] if isinstance(stated, list) else []
    shown = [path for path in paths if _is_path(path)] or _paths_within(issue)
    return " ".join([code if _CODE.fullmatch(code) else "unknown", *shown[:_PATHS]])


def _paths_within(issue: Mapping[str, Any]) -> list[str]:
    """Return the paths that the texts of an issue name, each once, in order."""
    texts = (text(issue, "diagnostics"), text(part(issue, "details"), "text"))
    paths = [path for words in texts for path in _PATH.findall(words)]
    return list(dict.fromkeys(path for path in map(_known_part, paths) if path))


def _is_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text)) and _known_part(text) == text


def _known_part(path: str) -> str:
    """Cut a path before the first name that is not an element; empty if only the type is left."""
    first, *names = path.split(".")
    elements: list[str] = []
    for name in names:
        if _INDEX.sub("", name) not in _ELEMENTS:
            break
        elements.append(name)
    return ".".join([first, *elements]) if elements else ""

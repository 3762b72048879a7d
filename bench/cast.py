"""
The baseline: what DICOM Cast does to a FHIR server, instance by instance.

One instance's attributes go in; out go four requests: search the Patient, search the Endpoint, search the
ImagingStudy, and one transaction with what differs: ``POST`` with ``ifNoneExist`` for what was not found, ``PUT`` with
``ifMatch`` for what was. The ImagingStudy grows by one instance each time, and is read and written whole. One at a
time, as DICOM Cast works. Favours to the baseline: reading its change feed and keeping its place cost nothing here, and
copying and comparing resources goes through the fastest means that Python has.

Source: github.com/microsoft/dicom-server, branch ``archived``, ``converter/dicom-cast``: FhirTransactionPipeline,
PatientPipelineStep, EndpointPipelineStep, ImagingStudyPipelineStep.
"""

from __future__ import annotations

import json
import marshal
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from bench.studies import Instance

Resource = dict[str, Any]

PATIENT_SYSTEM = "urn:dicom-cast:patient"
STUDY_SYSTEM = "urn:dicom:uid"
DICOMWEB = "https://dicom.example/v1"
_CONNECTION = {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "dicom-wado-rs"}
_ACCESSION_TYPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}


class CastError(Exception):
    """The server did not behave as DICOM Cast requires, so the baseline's figures would mean nothing."""


class Cast:
    """
    DICOM Cast's transaction pipeline against one FHIR server.

    Parameters
    ----------
    client
        Its ``base_url`` is the FHIR server's.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def process(self, instance: Instance) -> None:
        """
        Write one instance to FHIR, as DICOM Cast does.

        Raises
        ------
        CastError
            A request failed, or a search found more than one resource.
        """
        patient = self._step(
            "Patient", {"identifier": f"{PATIENT_SYSTEM}|{instance.patient}"}, lambda old: _patient(old, instance)
        )
        endpoint = self._step("Endpoint", _endpoint_search(), _endpoint)
        study = self._step(
            "ImagingStudy",
            {"identifier": f"{STUDY_SYSTEM}|urn:oid:{instance.study}"},
            lambda old: _imaging_study(old, instance, patient.reference, endpoint.reference),
        )
        entries = [step.entry for step in (endpoint, study, patient) if step.entry is not None]
        if entries:
            self._transact(entries)

    def _step(self, kind: str, search: Mapping[str, str], make: Any) -> _Step:
        """Search, build the expected resource, and compare."""
        query = urlencode(search)
        # Without the header HAPI answers a repeated search from its cache, and DICOM Cast's own conflict rules fail.
        answer = self._client.get(kind, params=search, headers={"Cache-Control": "no-cache"})
        if not answer.is_success:
            raise CastError(f"search {kind}: {answer.status_code}")
        matches = [entry["resource"] for entry in answer.json().get("entry", [])]
        if len(matches) > 1:
            raise CastError(f"several {kind}s match")
        if not matches:
            return _Step.create(kind, make(None), query)
        return _Step.update(kind, matches[0], make(copied(matches[0])))

    def _transact(self, entries: list[Resource]) -> None:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = self._client.post("", json=bundle, headers={"Content-Type": "application/fhir+json"})
        if not answer.is_success:
            raise CastError(f"transaction: {answer.status_code}")
        statuses = [entry["response"]["status"] for entry in answer.json()["entry"]]
        if len(statuses) != len(entries) or not all(status.startswith("2") for status in statuses):
            raise CastError(f"transaction: {statuses}")


class _Step:
    """The write that one resource needs: an entry of the transaction, or none."""

    def __init__(self, reference: str, entry: Resource | None) -> None:
        self.reference, self.entry = reference, entry

    @classmethod
    def create(cls, kind: str, resource: Resource, query: str) -> _Step:
        url = f"urn:uuid:{uuid.uuid4()}"
        request = {"method": "POST", "url": kind, "ifNoneExist": query}
        return cls(url, {"fullUrl": url, "resource": resource, "request": request})

    @classmethod
    def update(cls, kind: str, old: Resource, new: Resource) -> _Step:
        url = f"{kind}/{old['id']}"
        if new == old:
            return cls(url, None)
        request = {"method": "PUT", "url": url, "ifMatch": f'W/"{old["meta"]["versionId"]}"'}
        return cls(url, {"fullUrl": url, "resource": new, "request": request})


def copied(resource: Resource) -> Resource:
    """Return a deep copy."""
    copy: Resource = marshal.loads(marshal.dumps(resource))  # ten times as fast as copy.deepcopy
    return copy


def _patient(resource: Resource | None, instance: Instance) -> Resource:
    if resource is None:
        identifier = {"system": PATIENT_SYSTEM, "value": instance.patient}
        resource = {"resourceType": "Patient", "identifier": [identifier], "birthDate": instance.birth_date}
    resource["name"] = [{"use": "usual", "family": instance.family, "given": [instance.given]}]
    resource["gender"] = instance.gender
    return resource


def _endpoint_search() -> dict[str, str]:
    return {"name": f"DICOM WADO-RS endpoint {DICOMWEB}", "connection-type": "{system}|{code}".format(**_CONNECTION)}


def _endpoint(resource: Resource | None) -> Resource:
    return resource or {
        "resourceType": "Endpoint",
        "status": "active",
        "name": f"DICOM WADO-RS endpoint {DICOMWEB}",
        "connectionType": _CONNECTION,
        "address": DICOMWEB,
        "payloadType": [{"text": "DICOM WADO-RS"}],
        "payloadMimeType": ["application/dicom"],
    }


def _imaging_study(resource: Resource | None, instance: Instance, patient: str, endpoint: str) -> Resource:
    if resource is None:
        resource = {
            "resourceType": "ImagingStudy",
            "meta": {"source": DICOMWEB},
            "identifier": [{"system": STUDY_SYSTEM, "value": f"urn:oid:{instance.study}"}],
            "status": "available",
            "subject": {"reference": patient},
            "series": [],
        }
    started = f"{instance.date}T{instance.time}+00:00"
    resource["started"] = started
    _append_once(resource, "endpoint", {"reference": endpoint})
    _append_once(resource, "identifier", {"type": _ACCESSION_TYPE, "value": instance.accession})
    _append_once(resource, "note", {"text": instance.study_description})
    series = next((one for one in resource["series"] if one["uid"] == instance.series), None)
    if series is None:
        series = {"uid": instance.series, "instance": []}
        resource["series"].append(series)
    series |= {
        "number": instance.series_number,
        "description": instance.series_description,
        "modality": {"system": "DCM", "code": instance.modality},
        "started": started,
    }
    shown = next((one for one in series["instance"] if one["uid"] == instance.sop), None)
    if shown is None:
        shown = {"uid": instance.sop}
        series["instance"].append(shown)
    shown |= {"sopClass": {"code": instance.sop_class}, "number": instance.number}
    return resource


def _append_once(resource: Resource, element: str, value: Resource) -> None:
    values = resource.setdefault(element, [])
    if json.dumps(value) not in map(json.dumps, values):
        values.append(value)

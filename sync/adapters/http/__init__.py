"""Ports over HTTP by httpx: FHIR, DICOM servers, webhooks."""

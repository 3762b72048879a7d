"""A FHIR R4 service over HTTP."""

"""DICOM attributes in, FHIR R4 resources out. Pure: no I/O, no clock, the same bytes for the same rows."""

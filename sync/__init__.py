"""DICOM-FHIR Sync keeps a FHIR R4 service in step with a DICOM store. Start reading at `sync.pipeline`."""

__version__ = "0.1.0"

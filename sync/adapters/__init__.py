"""The ports over the network: Azure, FHIR and DICOM services. `sync.testing` has the same ports in memory."""

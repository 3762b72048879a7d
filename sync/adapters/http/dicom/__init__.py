"""DICOM servers over HTTP: the DICOM service of Azure Health Data Services, and Orthanc."""

"""DICOM objects: which attributes are read, how an object is inspected, how its header is parsed."""

"""
Which DICOM attributes are read, and how extracted values are looked up. No pydicom here: values are plain data.

`EXTRACTED` is the one table behind every reader (file header, DICOM JSON); a keyword that is not in it never leaves
the header.
"""

from __future__ import annotations

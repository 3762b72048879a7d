"""
The header reader: ranged reads of an object go in, an `InstanceRecord` or the reason why there is none comes out.

Bytes flow through four steps, each a module: `structure` walks data elements without copying (and so distinguishes a
complete header from a truncated one, which pydicom cannot), `text` decodes character sets, `values` turns the few
attributes of `sync.dicom.attributes.EXTRACTED` into plain data, `record` knows the file format around them. `reading`
fetches only as many bytes as the walk asks for. pydicom's tables define what the bytes mean; tests compare with its
reader.

`json_model` reads the same attributes from DICOM JSON, the format of DICOM services.
"""

from sync.dicom.header.identity import SPOILS
from sync.dicom.header.json_model import read_json
from sync.dicom.header.reading import inspect_header, read_file, read_stream
from sync.dicom.header.record import NeedMore, parse_header
from sync.dicom.header.text import is_common

__all__ = ["SPOILS", "NeedMore", "inspect_header", "is_common", "parse_header", "read_file", "read_json", "read_stream"]

"""
From FHIR to flat tables: reads resources, runs the views, keeps the tables in one DuckDB file.

`fetch` downloads (``$export`` or paging), `files` lists the NDJSON files, `build` loads them, `store` is the folder
with the result.
"""

from insights.collect.build import Built, build
from insights.collect.files import Input, read_folder
from insights.collect.store import Collected, Store

__all__ = ["Built", "Collected", "Input", "Store", "build", "read_folder"]

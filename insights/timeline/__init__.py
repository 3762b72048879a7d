"""
One patient over time, asked of a FHIR service live: lanes of what was found, done, given and imaged.

It needs nothing but what the sync itself has: no DuckDB.
"""

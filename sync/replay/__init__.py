"""
Replay: the changes of a time, or one study, inspected again and compared with what FHIR actually holds.

    request  ->  changes of its source  ->  inspect what changed  ->  mark, bypassing the cache  ->  project

A replay writes marks, not FHIR: the projection reads FHIR and writes only what differs. So it heals a server that lost
data, and where all is right it writes nothing. `requests` says what may be asked for, `sources` where changes come
from, `jobs` how a replay continues through kills and in slices, `preview` what one would do.
"""

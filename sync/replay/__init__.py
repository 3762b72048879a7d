"""
Replay: inspects the changes of a period, or one study, again, and compares them with the actual state of FHIR.

    request  ->  changes of its source  ->  inspect changed objects  ->  mark, bypassing the cache  ->  project

A replay writes marks, not FHIR: the projection reads FHIR and writes only the differences. So it repairs a server that
lost data, and writes nothing to one that is right. `requests` validates requests, `sources` finds the changes, `jobs`
runs a replay in slices that survive kills, `preview` is its dry run.
"""

"""
Compares source, ledger and FHIR, and repairs differences.

    studies    one study: dry run, duplicates, objects   ->  drifts
    objects    one study's objects: whether the source still holds them as recorded
    source     the source's own list: objects that were never inspected
    orphans    FHIR's own list: resources with ids of ours that no record knows
    repair     the ordinary path: inspect the object again, project the study again
    full_scan  all of it over all studies, for the command line
    reconcile  a small slice of it again and again, for the timer

No code here knows the expected content of a resource: a dry run projects the study (`sync.projection.dry_run`), and
each write that it predicts is a drift. An outstanding study is left to the sync, and a drift counts only when two
inspections, some time apart, have seen it while no work on the study was pending.
"""

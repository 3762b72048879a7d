"""
Compares source, ledger and FHIR, and repairs differences.

    studies    one study: dry run, duplicates, objects   ->  drifts
    objects    one study's objects: does the source still hold what the ledger says
    source     the source's own list: objects that were never inspected
    orphans    FHIR's own list: resources with our kind of id that no record knows
    repair     the ordinary path: inspect the object again, project the study again
    rounds     all of it over all studies, for the command line
    reconcile  a small slice of it again and again, for the timer

Nothing here knows what a resource should look like: a dry run projects the study (`sync.projection.dry_run`),
and what it would write is what drifts. A study that is outstanding is left to the sync, and a drift counts only when
two looks, some time apart, have seen it while no work on the study was pending.
"""

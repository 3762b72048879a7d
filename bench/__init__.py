"""
Measures the cost of the sync: ``python -m bench`` prints goal, measured and met, and writes ``bench/results.json``.

    header   header to ledger row, against a bare pydicom read of the same bytes      header_speed
    calls    requests that a burst of one study makes, counted from outside            burst_calls
    cast     DICOM Cast's protocol and ours on one real FHIR server                    cast, comparison
    scale    milliseconds an instance when the study is ten times as large             scale
    memory   what the functions host holds at its peak                                 scale
    large    one study of 30,000 instances: seconds and memory of a projection           large_study
    pages    milliseconds and requests of every page, in a world of thousands          pages
    commands seconds of backfill, replay and verify where all is right                 commands
    rest     storage requests of an app that has nothing to do                         rest
    two-hosts  seconds of a walk by two processes, against one                         two_hosts
    latency  seconds from the last mark of a study to its last write to FHIR           latency, slow

The parts under them: `studies` makes the files, `large_world` the rows, `worlds` starts the local world and sends
bursts through it, `relay` stands before its servers, counts requests and may add a network's latency, `traffic` tells
whose requests they were.
Figures are ratios within one run wherever there is something to compare with: machines differ, and so does their load.
"""

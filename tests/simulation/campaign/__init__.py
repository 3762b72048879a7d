"""
A campaign of mutants over the core: small edits of the code that some test should notice.

    `mutation`   edits of a module's syntax tree, each by a name that stays when other lines move
    `attempt`    one mutant in a process of its own: interleavings and schedules first, for they take moments
    `plugin`     the same mutant below pytest, for what the simulation does not meet
    `explained`  mutants that change nothing that matters, and why

``make mutants`` takes a sample by seed and ends after some seconds; ADR 0040 says why no kept tool does it.
"""

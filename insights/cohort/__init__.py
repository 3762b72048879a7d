"""
Cohorts: their members, how many people dropped out at each step and why, and extracts about the members.

`located` and `definition` read the file, `criteria` and `question` make it SQL, `funnel` counts and `protection` hides
small cells, `extracts` and `deidentify` give rows, `results` writes them.
"""

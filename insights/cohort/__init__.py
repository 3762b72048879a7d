"""
Cohorts: who is in, how many dropped out at each step and why, and an extract about those who are in.

`located` and `definition` read the file, `criteria` and `question` make it SQL, `funnel` counts and `protection` hides
small cells, `extracts` and `deidentify` give rows, `results` writes them.
"""

"""
Cohorts: their members, the number of people excluded at each step with the reason, and extracts about the members.

`located` and `definition` read the file, `criteria` and `question` compile it to SQL, `answer` counts, `protection`
hides small cells, `extracts` and `deidentify` produce rows, and `results` writes them.
"""

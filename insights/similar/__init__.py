"""
Patients similar to one: how they were treated and how they fared.

A rule defines similarity, criterion by criterion and within calipers, without weights or scores. Only counts and curves
of groups are given out, never a row about a person.
"""

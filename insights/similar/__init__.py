"""
Patients similar to one: how they were treated and how they fared.

Similar is what a rule says, criterion by criterion and within calipers; nothing is weighed or scored. Only counts and
curves of groups leave, never a row about a person.
"""

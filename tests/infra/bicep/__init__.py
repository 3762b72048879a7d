"""Bicep, as far as our templates use it: read strictly, looked through for slips, and evaluated without Azure."""

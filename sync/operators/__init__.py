"""Operator actions: access, the pause of projection, walks, and the audit trail."""

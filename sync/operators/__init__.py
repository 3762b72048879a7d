"""What operators may do: access, the pause of projection, walks, and the audit trail."""

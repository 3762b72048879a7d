"""What operators may do: access and the pause of projection."""

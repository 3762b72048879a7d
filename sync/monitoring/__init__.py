"""What operators see: counts, metric history, status, study state and alerts."""

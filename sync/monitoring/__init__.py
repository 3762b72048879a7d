"""Data for operators: counts, metric history, status, study state and alerts."""

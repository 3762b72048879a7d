"""Measurements, spans and structured logs, free of patient data by construction."""

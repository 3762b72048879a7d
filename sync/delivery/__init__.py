"""Queue messages to pipeline steps: handlers, backoff and undelivered events."""

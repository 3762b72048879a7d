"""Queue messages in, pipeline steps out: handlers, backoff and undelivered events."""

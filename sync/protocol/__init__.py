"""The steps of the sync protocol: claims, dirty studies, dead letters, leases and the outbox."""

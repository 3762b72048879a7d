"""
Every port in memory, as strict as the services it stands for.

No method ever suspends, so a scheduler can drive these coroutines step by step without an event loop. Every write
gives its row a fresh ETag, also one of equal content, and a lost race is `StoreConflict` exactly where Table Storage
answers 404, 409 or 412. Tests, the simulation and the local world use it; it is not deployed.
"""

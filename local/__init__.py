"""
The world on one machine: storage, FHIR server, Event Grid stand-in and functions host, for the demo and the tests.

Nothing here is deployed. `python -m local up` starts all of it, `python -m local demo` also fills it with sample
studies; tests take the single parts. Azurite and the embedded FHIR server run on Node, which comes as a Python wheel.
"""

"""
A lying gateway between the real adapters and their services.

    handlers, reconcile  ->  HttpFhirServer, AzureBlobs  ->  `lies.Gateway`  ->  `fhir_service`, `blob_service`
                         ->  state and queues in memory, which fail as the tables' adapters say that they do

All of it runs on one event loop whose time leaps to the next timer, so hours pass in moments, every sleep of ours and
of the libraries counts, and what waits for something that never comes is noticed at once.
"""

"""The two of each port: in memory, and for Azure and FHIR over the network."""

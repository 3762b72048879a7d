"""Reports outcomes to readers and models as they arrive: a watch on FHIR, an inbox with marks, events and a digest."""

"""Ports over the Azure SDK: blobs and their change feed, queues, result events; tables in a package of their own."""

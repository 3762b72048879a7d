"""The same views and questions on Apache Spark, for more data than one machine takes. Needs the extra `spark`."""

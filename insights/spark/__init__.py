"""The same views and questions on Apache Spark, for more data than one machine can process. Needs the extra `spark`."""

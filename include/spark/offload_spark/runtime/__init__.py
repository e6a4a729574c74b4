"""The driver's JVM and its SparkSession."""

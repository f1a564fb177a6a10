"""Arrow batches to the bytes of a file: gzipped NDJSON and Parquet, by one stated type map."""

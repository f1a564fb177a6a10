"""File formats: encoding Arrow batches as gzipped NDJSON or Parquet, with one type map for both."""

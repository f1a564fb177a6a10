"""From files (Parquet, NDJSON, JSON, CSV) and options to a schema and batches of rows, exactly as written or refused."""

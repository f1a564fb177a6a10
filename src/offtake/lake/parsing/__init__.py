"""From files (Parquet, NDJSON, JSON, CSV) and options to a schema and rows: values stay as written, or are refused."""

"""Parsing files (Parquet, NDJSON, JSON, CSV) into a schema and rows: each value is kept exactly, or refused."""

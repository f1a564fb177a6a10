"""Recompression of Parquet pages without decoding their values."""

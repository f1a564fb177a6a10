"""Recompression of Parquet pages without decoding them."""

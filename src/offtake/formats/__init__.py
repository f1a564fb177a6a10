"""Arrow batches to the bytes of a file."""

"""Landing zones: local folders, Azure containers, and prefixes of S3 buckets."""

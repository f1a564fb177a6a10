"""Datasets as Iceberg tables: the catalog, what comes in, and which files a range of snapshots adds."""

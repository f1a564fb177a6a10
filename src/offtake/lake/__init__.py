"""Datasets as Iceberg tables: the catalog, imports, and the files that a range of snapshots adds."""

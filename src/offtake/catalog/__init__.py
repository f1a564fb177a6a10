"""Datasets and batches: creation, uploads, imports, and their documents."""

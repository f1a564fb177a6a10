"""Persistence: tables, transactions, migrations and the vault, in one database (SQLite or PostgreSQL)."""

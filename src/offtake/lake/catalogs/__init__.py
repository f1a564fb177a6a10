"""Catalogs of others, whose tables are read: what each type needs, and how it is opened."""

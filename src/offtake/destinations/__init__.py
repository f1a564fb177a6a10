"""Destinations: one file per destination, each a declaration of the same shape."""

"""Sandboxes: their life cycle, and the removal of their content."""

"""A run from plan to proof."""

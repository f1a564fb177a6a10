"""Where a target connection delivers to, in one line, as the pages show it."""

from offtake.flows.places import place_of

__all__ = ["place_of"]

"""One file per kind of channel, all of the same form."""

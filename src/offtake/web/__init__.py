"""The pages: a server-rendered web interface, which works without scripts and is better with them."""

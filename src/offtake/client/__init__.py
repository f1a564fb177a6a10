"""A client of the HTTP contract, for a server of Offtake or of the vendor. It imports nothing of a server."""

"""Keys and credentials of landing zones."""

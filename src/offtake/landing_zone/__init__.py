"""Landing zones: keys, signatures and credentials for consumers."""

"""What destinations are built on: object stores, SFTP, local folders, HTTP, and the egress proxy."""

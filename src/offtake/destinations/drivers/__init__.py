"""Drivers of destinations: object stores, SFTP, local folders, HTTP, and the egress proxy."""

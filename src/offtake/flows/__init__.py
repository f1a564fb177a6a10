"""Connections, flows and runs: the entities of Flow Service and their rules."""

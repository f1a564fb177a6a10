"""Connections to hosts that users choose: the rules, the proxy that enforces them for drivers, and HTTP requests."""

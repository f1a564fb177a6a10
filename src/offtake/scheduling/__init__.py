"""Turns intent into runs, and runs into deliveries."""

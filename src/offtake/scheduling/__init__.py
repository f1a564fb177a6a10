"""Scheduler, workers, ingestor and housekeeping."""

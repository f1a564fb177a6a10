"""Offtake: scheduled, provable exports of Apache Iceberg datasets."""

__version__ = "0.2.0"

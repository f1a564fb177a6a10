"""Shared parts of the HTTP contract: the caller, request bodies, problems, filters, lists, JSON Patch."""

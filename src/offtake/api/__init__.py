"""The HTTP contract: one router a resource."""

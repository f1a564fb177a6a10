"""What all entities of the HTTP contract share: the caller, request bodies, problems, filters, lists, JSON Patch."""

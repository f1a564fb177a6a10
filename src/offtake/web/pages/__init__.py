"""One module a page: the query of its URL in, a template out. Pages call the same functions as the API."""

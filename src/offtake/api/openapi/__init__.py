"""What `/openapi.json` states beyond the routes: bodies, responses, errors and examples."""

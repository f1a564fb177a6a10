"""The parts of `/openapi.json` that FastAPI does not derive from routes: bodies, responses, errors, examples."""

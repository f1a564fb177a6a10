"""What `/openapi.json` says beside what the routes themselves tell: bodies, answers, errors, examples."""

"""The page `/metrics`: what this process counted, and the state of the deployment, in Prometheus's format."""

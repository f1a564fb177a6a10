"""Where parts run: a pool of processes on this machine."""

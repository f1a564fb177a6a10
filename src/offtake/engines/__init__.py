"""Process pools on this machine: for exporting parts, and for parsing users' files."""

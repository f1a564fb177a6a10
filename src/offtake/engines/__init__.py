"""Where the parts of runs are carried out."""

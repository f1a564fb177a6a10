"""One run, from plan to verified delivery."""

"""Where datasets are delivered: one file a destination, all fulfilling one contract."""

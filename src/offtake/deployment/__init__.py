"""The composition root: from settings to store, vault, lake and landing zones."""

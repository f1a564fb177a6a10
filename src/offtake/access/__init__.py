"""Access control: clients, tokens, roles, labels, and the audit log."""

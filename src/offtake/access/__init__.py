"""Who may do what: clients, tokens, roles, labels, and the audit log."""

"""Notifications: channels, rules, grouping of events into messages, and sending them."""

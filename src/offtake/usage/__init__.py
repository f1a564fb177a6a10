"""What sandboxes use each month, and their quotas."""

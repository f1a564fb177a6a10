"""How the tables came to be, oldest first."""

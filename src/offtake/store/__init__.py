"""What Offtake remembers: tables, transactions, migrations, and the vault. One database, SQLite or PostgreSQL."""

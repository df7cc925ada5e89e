"""What a search says: its table, its summary, its live display."""

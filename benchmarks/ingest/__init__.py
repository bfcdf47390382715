"""Reading ad performance: ours into typed SQLite rows beside Meta's SDK into a JSON file."""

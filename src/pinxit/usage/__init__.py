"""What was painted and what it cost: `usage` adds it up by day, model and key, `csv` writes it for spreadsheets."""

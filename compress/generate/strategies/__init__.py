"""What to generate: one file and one row of ``table.py`` per strategy."""

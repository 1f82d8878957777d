"""Images read from files: what is repaired, what cannot be read and why."""

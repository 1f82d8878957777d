"""What generates images from texts or image embeddings: one file and one row of ``table.py``."""

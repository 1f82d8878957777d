"""Strategy ``inversion``: images optimized until the teacher sees what their prompt says."""

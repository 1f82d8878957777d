"""Heads of a CLIP teacher beside its probe: `teacher.heads`."""

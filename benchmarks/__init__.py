"""One runnable module per claim. Each prints a table and writes it, with the command that made it,
to ``results/``.
"""

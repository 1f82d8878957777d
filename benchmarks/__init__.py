"""Claims, measured: one runnable module each.

A module prints its page and writes it, with the command that made it, to ``results/``. ``page`` is
what they share, ``browser`` runs pages in Chromium, ``petals_training`` made the embedded weights,
``abuse`` is a claim of many parts.
"""

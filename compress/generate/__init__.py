"""Synthetic images: strategies (what to generate) and generators (what generates), each a table.

A strategy is one file and one row of ``stage.STRATEGIES``; a generator is one file and one row of
``base.GENERATORS``.
"""

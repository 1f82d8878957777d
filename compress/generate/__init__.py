"""Synthetic images: what to generate (strategies) and what generates it (generators, decoders).

Each is a table: ``strategies/table.py``, ``generators/table.py``, ``inversion/decoders.py`` and,
for the targets of inversion, ``inversion/prompt_targets.py``. Tables are read without torch.
"""

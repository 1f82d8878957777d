"""Mixed precision: cost and gain of int8 in every block, and variants with some blocks in float."""

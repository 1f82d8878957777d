"""Quantization: where int8 goes, its scales, the captured graph, and the training through it."""

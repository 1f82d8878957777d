"""Quantization: where int8 goes (quantizer), the captured graph (graph), and the stage that trains
it.
"""

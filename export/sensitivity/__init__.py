"""Mixed precision: what int8 costs and saves in every block, and the files with some blocks in
float.
"""

"""Further files from one bundle: half precision, fixed batch, preprocessing in the graph, ORT
format, other versions.
"""

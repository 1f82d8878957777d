"""Distillation: students, batches of views with cached targets, objectives (a table), and the only
training loop.
"""

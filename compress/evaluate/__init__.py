"""Accuracy from logits: one model, two models on the same images, and what ships because of it."""

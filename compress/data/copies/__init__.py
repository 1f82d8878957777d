"""Copies of images: equal ones, nearly equal ones, and what is done about them."""

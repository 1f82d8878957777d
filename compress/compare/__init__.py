"""Finished runs beside each other: what their own measurements allow to say."""

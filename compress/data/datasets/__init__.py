"""The named datasets: their rows, readers and class names."""

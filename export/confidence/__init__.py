"""How far a bundle's answers are to be trusted: temperature, and images that show no class."""

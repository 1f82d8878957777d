"""Who does the long work: this process, several processes, or the workers of a Ray cluster."""

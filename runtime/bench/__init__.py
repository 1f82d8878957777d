"""How fast, how steady, how much memory and energy: latency, benchmarks and their files."""

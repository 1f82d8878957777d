"""The machine: processor, clocks, sensors, and which model file suits it."""

"""What the machine is: processor, clocks, sensors, what it can run."""

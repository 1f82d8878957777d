"""A work folder in object storage: its mirror on this machine, partial work, leases."""

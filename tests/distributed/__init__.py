"""Several processes, as if on several machines."""

"""What everything stands on: configs, errors, files, interrupts, TensorFlow."""

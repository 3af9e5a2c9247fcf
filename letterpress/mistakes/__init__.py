"""What the letters classifier gets wrong."""

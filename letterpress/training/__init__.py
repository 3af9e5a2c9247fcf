"""The one training function, for one process or several workers."""

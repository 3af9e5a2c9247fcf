"""The record format, and the readers of images that become records."""

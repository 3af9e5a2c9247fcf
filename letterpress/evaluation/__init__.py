"""Accuracy with intervals, and calibrated probabilities."""

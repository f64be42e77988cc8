"""Measurements of a run's checkpoints, one file each."""

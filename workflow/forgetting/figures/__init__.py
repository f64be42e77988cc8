"""Figures, one file for each study."""

"""Statistics that claims are tests of, one file each."""

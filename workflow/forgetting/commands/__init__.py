"""Commands of `python -m forgetting`, one thin file each."""

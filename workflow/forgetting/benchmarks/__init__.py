"""Task sequences, one file for each kind of sequence."""

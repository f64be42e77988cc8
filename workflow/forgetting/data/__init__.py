"""Data sets, one file each: the file's name is the data set's name in a study."""

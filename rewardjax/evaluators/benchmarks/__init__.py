"""One module for each benchmark: its original files in, the numbers of its reference implementation out."""

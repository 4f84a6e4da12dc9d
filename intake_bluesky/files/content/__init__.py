"""Where files of runs are, and the bytes in them."""

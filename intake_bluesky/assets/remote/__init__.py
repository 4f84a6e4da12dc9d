"""Files on servers and in buckets, read in parts by their names, and what is kept of them."""

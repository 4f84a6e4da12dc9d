"""The catalogs installed on this machine, as one mapping by name."""

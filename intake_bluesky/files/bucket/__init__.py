"""A catalog of runs in one folder of an object store: the runs, and the index that finds them, written by many."""

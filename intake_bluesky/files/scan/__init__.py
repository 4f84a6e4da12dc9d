"""What one look at a file finds of its run."""

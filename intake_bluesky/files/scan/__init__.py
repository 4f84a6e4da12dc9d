"""What one look at a file tells of its run."""

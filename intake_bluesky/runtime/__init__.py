"""What every room may use and that knows nothing of runs: plugins, trust, secrets, progress, threads."""

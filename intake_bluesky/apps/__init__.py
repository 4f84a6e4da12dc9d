"""Programs over catalogs: the command line, the terminal's tables, validation, the demonstration."""

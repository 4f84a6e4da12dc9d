"""Output to a terminal: tables and trees by rich, JSON. Needs the extra ``[cli]``."""

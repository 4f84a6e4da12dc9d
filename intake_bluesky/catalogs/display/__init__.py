"""How catalogs, runs and streams look: text for a terminal, HTML for a notebook."""

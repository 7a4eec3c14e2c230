"""How a run is shown: table, Markdown, JSON."""

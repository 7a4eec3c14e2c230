"""Reports of a run: terminal, Markdown, JSON; and the verdict of a scan, which they show."""

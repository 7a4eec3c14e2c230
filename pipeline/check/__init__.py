"""The gates of the source."""

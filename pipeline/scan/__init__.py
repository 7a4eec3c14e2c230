"""The vulnerability gate."""

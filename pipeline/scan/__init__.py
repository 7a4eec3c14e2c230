"""The vulnerability gate: the scanner, its findings and the ignore file."""

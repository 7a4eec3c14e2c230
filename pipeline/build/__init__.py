"""The image, built."""

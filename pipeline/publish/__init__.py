"""Publishing: an image that passed the scan is pushed, read back by digest, and signed."""

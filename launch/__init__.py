"""What `./ship` and `./test` do before anything else: an environment, an engine. Standard library only."""

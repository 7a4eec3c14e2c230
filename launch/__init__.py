"""The commands `./ship` and `./test`: environment, engine, suites. Standard library only."""

"""What the person at the terminal sees while a run goes on."""

import sys


def log(stage: str, message: str) -> None:
    """Print one line about a stage. In a Dagger Engine it is part of the function's log."""
    sys.stdout.write(f"{stage:<9} {message}\n")
    sys.stdout.flush()

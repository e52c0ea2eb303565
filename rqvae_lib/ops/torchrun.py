"""What `torchrun` tells each process that it starts. Nothing heavy is imported here.

Used by: the world, the command line.
"""

import os


def number_of_processes() -> int:
    """Return how many processes `torchrun` started, or 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def own_number() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if number_of_processes() > 1 else 0

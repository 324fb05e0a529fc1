"""`limbeck sweeps` and `leaderboard`: what the database holds."""

import argparse

from limbeck.cli.places import Commands


def register(commands: Commands) -> None:
    """Add the commands of this module."""

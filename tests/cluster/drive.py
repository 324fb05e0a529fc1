"""A driver in a process of its own, so that it can be killed: `drive.py PLAN HOME CACHE [--resume] …`."""

import argparse
import sys
from pathlib import Path

from cluster_toys import TOY

from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import load_plan
from limbeck.storage import storage_at

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("plan", "home", "cache"):
        parser.add_argument(name)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--database")
    parser.add_argument("--address")
    given = parser.parse_args()
    home, cache = storage_at(given.home, Path(given.cache)), Path(given.cache)
    database = given.database or f"sqlite:///{home.folder / 'limbeck.db'}"
    site = Site(home.folder, database, cache, given.address, home.uri)
    sys.exit(run_sweep(load_plan(Path(given.plan)), site, resume=given.resume, engine=TOY).exit_code)

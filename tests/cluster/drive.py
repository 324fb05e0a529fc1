"""A driver in a process of its own, so that it can be killed: `drive.py PLAN HOME CACHE [resume]`."""

import sys
from pathlib import Path

from cluster_toys import TOY

from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import load_plan

if __name__ == "__main__":
    plan, home, cache = (Path(word) for word in sys.argv[1:4])
    site = Site(home, f"sqlite:///{home / 'limbeck.db'}", cache)
    sys.exit(run_sweep(load_plan(plan), site, resume="resume" in sys.argv, engine=TOY).exit_code)

"""Sweeps on Ray: the only home of Ray and Optuna. `sweep.run_sweep` is the way in."""

import os

# Ray reads it when it is imported. Without it Ray prints its own remarks on dying workers; the sweep has its own words.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")

"""Sweeps on Ray: the only home of Ray and Optuna. `sweep.run_sweep` is the way in."""

import os

# Ray reads these when it is imported. Without the first it prints its own remarks on dying workers; the sweep has its
# own words.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
# Ray does not send a token to an address that it was told, unless it is told this as well.
if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
    os.environ.setdefault("RAY_AUTH_MODE", "token")

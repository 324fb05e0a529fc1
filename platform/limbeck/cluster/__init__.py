"""Sweeps on Ray: the only home of Ray and Optuna. `sweep.run_sweep` is the way in."""

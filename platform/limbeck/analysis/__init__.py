"""From stored results to what a paper prints: ablations, retention, searches read right, scaling and cost."""

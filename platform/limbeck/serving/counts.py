"""What a server counts of itself, for Prometheus; replicas of one machine count together."""

import os
from pathlib import Path

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Counts:
    """Requests, seconds and batches."""

    def __init__(self, folder: Path) -> None:
        """Keep the numbers in files below `folder`, which all replicas share."""
        # prometheus_client reads this when it is first imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        own = CollectorRegistry()
        self._folder = str(folder)
        self.requests = Counter("limbeck_requests", "Requests answered, by status.", ["status"], registry=own)
        self.seconds = Histogram(
            "limbeck_request_seconds", "Time in the replica, from headers to answer.", buckets=_SECONDS, registry=own
        )
        self.ongoing = Gauge(
            "limbeck_requests_ongoing", "Requests in the replicas.", multiprocess_mode="livesum", registry=own
        )
        self.texts = Counter("limbeck_texts", "Texts classified.", registry=own)
        self.batches = Histogram("limbeck_batch_texts", "Texts classified together.", buckets=_TEXTS, registry=own)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, path=self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)

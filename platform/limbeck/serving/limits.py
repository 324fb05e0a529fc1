"""What one request may ask of the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Beyond them a request is refused, before it costs anything."""

    texts: int = 256
    """Of one request."""
    characters: int = 100_000
    """Of one text; the model reads the beginning alone."""
    body_bytes: int = 2 * 2**20
    body_seconds: float = 5.0
    """Until the whole body has arrived."""
    ongoing: int = 512
    """Requests that a replica holds at once."""
    waiting: int = 1024
    """Requests that wait for a replica; those beyond are told to come again."""

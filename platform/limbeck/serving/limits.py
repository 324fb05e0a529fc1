"""What one request may ask of the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Beyond them a request is refused, before it costs anything."""

    texts: int = 256
    """Of one request."""
    characters: int = 100_000
    """Of one text; the model reads the beginning alone."""
    head_bytes: int = 32 * 2**10
    """All headers of a request together."""
    head_seconds: float = 5.0
    """Until they have arrived."""
    body_bytes: int = 2 * 2**20
    body_seconds: float = 5.0
    """Until the whole body has arrived."""
    waiting: int = 1024
    """Requests whose texts wait for a replica's model; those beyond are told to come again."""

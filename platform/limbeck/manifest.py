"""What an export says of itself: `manifest.json`, read without any of the libraries that made it."""

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
KIND = "limbeck export"
TEXT_COLUMNS = "text_columns"
"""The name of how many texts make a row: in a manifest's `task`, and in the `tokenizer_config.json` of a student."""


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an export, or None where `folder` is something else."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kind") == KIND else None

"""Short names for long content."""

import hashlib
import json
from typing import Any


def digest_of(content: Any) -> str:
    """Return 32 hex digits that identify a value (anything that JSON can hold)."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

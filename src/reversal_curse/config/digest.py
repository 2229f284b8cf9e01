"""Short names for long content."""

import hashlib
import json
from typing import Any


def digest_of(content: Any) -> str:
    """Return twelve hex digits that identify `content`, which must fit into JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

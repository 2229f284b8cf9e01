"""Short names for long content."""

import hashlib
import json
from typing import Any


def digest_of(content: Any) -> str:
    """Twelve hex digits that stand for what can be written as JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

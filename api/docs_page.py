"""`/docs`: the OpenAPI document as a page that works offline and lets nothing else run in it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final


@cache
def docs_page() -> bytes:
    """The page. It reads `/openapi.json` from where it came and nothing from elsewhere."""
    return (resources.files("api") / "docs.html").read_bytes()


def _digest(tag: bytes) -> str:
    """A Content-Security-Policy source for the page's one inline script or style."""
    found = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), docs_page(), re.DOTALL)
    assert found
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"


DOCS_POLICY: Final = (
    f"default-src 'none'; script-src {_digest(b'script')}; style-src {_digest(b'style')}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()

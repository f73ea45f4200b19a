"""What `up` prints when everything answers."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.first_start import DEMO_SALE_ID
from holdfast.system import DataDirectory, RunFile


def where_things_are(run: RunFile, data: DataDirectory, *, demo_sale: bool, ready: bool) -> None:
    """Print where to reach the system, and a first call to try."""
    rows = (
        ("API", run.url),
        ("reference", f"{run.url}/docs  (OpenAPI: {run.url}/openapi.json)"),
        ("Redis", without_password(run.redis_url)),
        ("PostgreSQL", without_password(run.database_url)),
        ("payments", without_password(run.gateway_url) if run.gateway_url else "Stripe"),
        ("tokens, URLs", f"{data.run_file}  (with credentials; yours to read)"),
        ("logs", f"{data.logs}/"),
    )
    print("Holdfast is up." if ready else "Holdfast is up, but takes no bookings: see /readyz.")
    for name, place in rows:
        print(f"  {name:<13} {place}")
    if demo_sale:
        print("Try:")
        print(f"  curl -s {run.url}/v1/sales/{DEMO_SALE_ID}/availability")
        if run.tokens["customer"]:
            print(first_booking(run.url, data))
    print("Ctrl-C stops it; the data stays.", flush=True)


def first_booking(url: str, data: DataDirectory) -> str:
    """A booking, to paste into a shell."""
    body = f'{{"sale_id":"{DEMO_SALE_ID}","lines":[{{"item_id":"standing","quantity":2}}]}}'
    return (
        f"  TOKEN=$({this_command()} token --sub ann --data {data.path})\n"
        f'  curl -s {url}/v1/bookings -H "Authorization: Bearer $TOKEN" \\\n'
        "    -H \"Idempotency-Key: $(python3 -c 'import uuid; print(uuid.uuid4())')\" \\\n"
        f"    -H 'Content-Type: application/json' -d '{body}'"
    )


def this_command() -> str:
    """How to call `holdfast` from any shell: the script beside this interpreter, if it is there."""
    script = Path(sys.executable).with_name("holdfast")
    return str(script) if script.exists() else f"{sys.executable} -m holdfast"


def without_password(url: str) -> str:
    """The URL for a screen. A name without a password is a gateway's key, and as secret."""
    parts = urlsplit(url)
    if parts.username is None:
        return url
    shown = f"{parts.username}:***" if parts.password is not None else "***"
    return parts._replace(netloc=f"{shown}@{parts.netloc.rpartition('@')[2]}").geturl()

"""Webhooks: events sent to an endpoint as the Standard Webhooks specification says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import socket
import time
from typing import Any, Final

import aiohttp
from aiohttp.typedefs import LooseHeaders

from engine.addresses import is_public
from engine.crypto import Vault
from engine.events import spelled
from engine.limits import MAX_EXCERPT_CHARS, WEBHOOK_TIMEOUT_MS
from persistence.deliveries import Delivery, Target
from persistence.endpoints import SECRET_PREFIX
from workers.sending import Poison, Told, Verdict, said

CONTENT_TYPE: Final = "application/cloudevents+json"
USER_AGENT: Final = "holdfast-webhooks"
_GONE: Final = 410


class Forbidden(OSError):
    """The address is not one that a webhook may go to."""


def open_session(
    *, allow_private: bool, timeout_ms: int = WEBHOOK_TIMEOUT_MS
) -> aiohttp.ClientSession:
    """A session for requests to addresses that others chose.

    The address is looked at when a connection is made, and it is the one connected to: a name that
    is resolved again cannot lead elsewhere. Cookies are not kept, and no proxy is used.
    """

    def make_socket(found: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = found
        if not (allow_private or is_public(str(address[0]))):
            raise Forbidden(errno.EACCES, f"{address[0]} is not a public address")
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.ClientSession(
        # No limit of its own: one host that hangs must not keep connections from the others.
        connector=aiohttp.TCPConnector(limit=0, socket_factory=make_socket),
        timeout=aiohttp.ClientTimeout(total=timeout_ms / 1000),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


def signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the signature of a delivery; `secret` as the endpoint's owner was told it."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class WebhookSender:
    """Sends to one endpoint.

    Args:
        source: of the events.
    """

    def __init__(
        self, session: aiohttp.ClientSession, vault: Vault, target: Target, source: str
    ) -> None:
        self._session = session
        self._vault = vault
        self._target = target
        self._source = source

    async def send(self, delivery: Delivery) -> Told:
        """POST it. Redirects are not followed: what is answered is the answer."""
        event = delivery.event
        written_ms = None
        body = delivery.body
        if body is None:
            try:
                told, entry = said(event, self._source)
            except Poison as poison:
                return Told(Verdict.POISONED, detail=str(poison))
            body, written_ms = spelled(told), entry.at_ms
        try:
            async with self._session.post(
                self._target.url,
                data=body,
                headers=self._headers(event.event_id, body),
                allow_redirects=False,
            ) as answer:
                excerpt = await answer.content.read(MAX_EXCERPT_CHARS)
                return _told(answer.status, excerpt.decode("utf-8", "replace"), written_ms)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A time-out is an OSError too, and says nothing by itself.
            return Told(Verdict.FAILED, detail=f"{type(error).__name__}: {error}")

    def _headers(self, event_id: str, body: bytes) -> LooseHeaders:
        timestamp = int(time.time())
        sealed = [self._target.secret]
        if self._target.old_secret is not None:
            sealed.append(self._target.old_secret)
        secrets = [self._vault.unseal(secret).decode() for secret in sealed]
        return {
            "content-type": CONTENT_TYPE,
            "user-agent": USER_AGENT,
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                signature(secret, event_id, timestamp, body) for secret in secrets
            ),
        }


def _told(status: int, excerpt: str, written_ms: int | None) -> Told:
    if 200 <= status < 300:
        return Told(Verdict.ARRIVED, status, None, excerpt, written_ms)
    if status == _GONE:
        return Told(Verdict.GONE, status, "the endpoint is gone", excerpt)
    return Told(Verdict.FAILED, status, f"answered {status}", excerpt)

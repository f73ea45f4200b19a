"""The identity service's public keys: fetched off the event loop, kept, fetched again when due.

A token that names a key nobody has seen asks for a fetch, at most one each
`JWKS_RETRY_MS`, so that made-up key ids cannot be used to beat on the identity service.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
import orjson
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from engine.limits import JWKS_AGE_MS, JWKS_RETRY_MS, JWKS_TIMEOUT_MS, MAX_JWKS_BYTES, MAX_JWKS_KEYS
from engine.tasks import end_tasks

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric only: with these, what verifies a token cannot make one."""

_log = structlog.stdlib.get_logger("holdfast.auth")


class KeysUnknown(Exception):
    """The identity service's keys have never been read."""


class KeySet:
    """The keys behind a URL (`http://`, `https://` or `file://`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._jwks: list[dict[str, Any]] = []
        self._made: dict[tuple[str | None, str], PyJWK | None] = {}
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")
        self._fetching: asyncio.Task[None] | None = None
        self._http: httpx.AsyncClient | None = None
        self.version = 0
        """Grows when the set of keys changes: whoever remembers a verdict must forget it."""
        self.error: str | None = None
        """Why the last fetch failed."""

    @property
    def known(self) -> bool:
        """Whether there are keys."""
        return bool(self._jwks)

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key that a token names, or None where there is none for its algorithm.

        Without a key id, the only key that fits the algorithm.

        Raises:
            KeysUnknown: no keys have been read yet.
        """
        found = self.lookup(key_id, algorithm)
        may_ask = self._fetching is not None or self._silent_ms() >= JWKS_RETRY_MS
        if found is None and may_ask:
            await self.refresh()
            found = self.lookup(key_id, algorithm)
        if found is None and not self._jwks:
            raise KeysUnknown(self.error or "not read yet")
        return found

    def lookup(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """As `find`, among the keys that are known; asks nobody."""
        place = (key_id, algorithm)
        if place not in self._made:
            if len(self._made) > 4 * MAX_JWKS_KEYS:
                self._made.clear()
            fits = [
                key
                for jwk in self._jwks
                if (key_id is None or jwk.get("kid") == key_id)
                and (key := _make(jwk, algorithm)) is not None
            ]
            self._made[place] = fits[0] if len(fits) == 1 else None
        return self._made[place]

    async def tend(self) -> None:
        """Fetch the keys if they are old, or none are known. To be called every second or so.

        It is this, and not a request, that notices a key withdrawn: a token that is remembered
        asks for no key. Old keys stay good while the identity service is away: it stops nobody.
        """
        old = time.monotonic() - self._fetched_at >= JWKS_AGE_MS / 1000
        if (old or not self._jwks) and self._silent_ms() >= JWKS_RETRY_MS:
            await self.refresh()

    async def refresh(self) -> None:
        """Fetch the keys now; a failure is noted in `error` and leaves those that are known.

        Who comes while a fetch is under way waits for that one.
        """
        if self._fetching is None:
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    def _silent_ms(self) -> float:
        return (time.monotonic() - self._tried_at) * 1000

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(JWKS_TIMEOUT_MS / 1000):
                jwks = _keys_of(await self._read())
        except (OSError, TimeoutError, httpx.HTTPError, ValueError) as error:
            self.error = str(error) or type(error).__name__
            _log.warning("jwks_not_read", error=self.error)
            return
        self.error = None
        self._fetched_at = time.monotonic()
        if jwks != self._jwks:
            self._jwks = jwks
            self._made.clear()
            self.version += 1

    async def _read(self) -> bytes:
        address = urlsplit(self._url)
        if address.scheme == "file":
            path = Path(unquote(address.path))
            return await asyncio.to_thread(path.read_bytes)
        if self._http is None:
            # Off the loop: it reads the system's certificates.
            self._http = await asyncio.to_thread(httpx.AsyncClient, timeout=JWKS_TIMEOUT_MS / 1000)
        text = bytearray()
        async with self._http.stream("GET", self._url) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_bytes():
                text += piece
                if len(text) > MAX_JWKS_BYTES:
                    break
        return bytes(text)

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._fetching is not None:
            await end_tasks((self._fetching,))
        if self._http is not None:
            await self._http.aclose()


def _keys_of(text: bytes) -> list[dict[str, Any]]:
    """The signature keys of a JWKS (RFC 7517), symmetric ones left out."""
    if len(text) > MAX_JWKS_BYTES:
        raise ValueError(f"the JWKS has over {MAX_JWKS_BYTES} bytes")
    document = orjson.loads(text)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWKS: `keys` is missing")  # noqa: TRY004
    keys = [
        jwk
        for jwk in listed[:MAX_JWKS_KEYS]
        if isinstance(jwk, dict)
        and jwk.get("kty") in {"RSA", "EC", "OKP"}
        and jwk.get("use", "sig") == "sig"
    ]
    if not keys:
        raise ValueError("the JWKS has no public signature key")
    return keys


def _make(jwk: dict[str, Any], algorithm: str) -> PyJWK | None:
    """The key made ready for one algorithm; None where it is meant for another."""
    if jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        return PyJWK(jwk, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None

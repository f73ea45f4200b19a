"""Bearer tokens: JWTs of the identity service, verified, and remembered until they end.

A verdict is remembered because a signature costs up to a hundred microseconds and a buyer sends
the same token many times. It is forgotten when the token ends and when the set of keys changes.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Final

from jwt import PyJWK

from api.call import Principal
from api.jwks import ALGORITHMS, KeySet, KeysUnknown
from api.problems import Problem
from api.tokens import Disbelieved, Head, Heads, check_claims, signed_claims
from engine.limits import ID_PATTERN, MAX_TOKEN_BYTES, MAX_TOKENS_REMEMBERED

_SUBJECT: Final = re.compile(ID_PATTERN[1:-1])


def unauthenticated(detail: str, *, token_sent: bool = True) -> Problem:
    """A 401 with the challenge that RFC 6750 asks for."""
    challenge = b'Bearer realm="holdfast"'
    if token_sent:
        challenge += b', error="invalid_token"'
    return Problem("unauthenticated", detail, headers=[(b"www-authenticate", challenge)])


class Verifier:
    """Turns an Authorization header into a principal."""

    def __init__(self, keys: KeySet, issuer: str, audience: str) -> None:
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self._remembered: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._version = keys.version
        self._heads = Heads()

    async def principal(self, header: bytes | None) -> Principal:
        """Who sent the header.

        Raises:
            Problem: `unauthenticated`; `unavailable` while the keys have never been read.
        """
        if header is None:
            raise unauthenticated("Send `Authorization: Bearer <token>`.", token_sent=False)
        if len(header) > MAX_TOKEN_BYTES:
            raise unauthenticated("The token is too long.")
        if self._version != self.keys.version:
            self._remembered.clear()
            self._version = self.keys.version
        # Its digest: no copy of a credential is kept, and each entry has the same size.
        digest = hashlib.blake2b(header, digest_size=20).digest()
        found = self._remembered.get(digest)
        if found is not None and found[0] > time.time():
            self._remembered.move_to_end(digest)
            return found[1]
        expires_at, principal = await self._verify(header)
        self._remembered[digest] = (expires_at, principal)
        if len(self._remembered) > MAX_TOKENS_REMEMBERED:
            self._remembered.popitem(last=False)
        return principal

    async def _verify(self, header: bytes) -> tuple[float, Principal]:
        scheme, _, token = header.partition(b" ")
        token = token.strip(b" ")
        if scheme.lower() != b"bearer" or not token or b" " in token:
            raise unauthenticated("The Authorization header is not `Bearer <token>`.")
        try:
            head = self._heads.read(token, ALGORITHMS)
            key = self.keys.lookup(head.key_id, head.algorithm) or await self._find(head)
            claims = signed_claims(token, key)
            ends_s = check_claims(claims, self._issuer, self._audience, time.time())
        except Disbelieved as why:
            raise unauthenticated(str(why)) from None
        return ends_s, _principal(claims)

    async def _find(self, head: Head) -> PyJWK:
        try:
            key = await self.keys.find(head.key_id, head.algorithm)
        except KeysUnknown:
            raise Problem(
                "unavailable",
                "The identity service's keys cannot be read, so no token can be verified; "
                "nothing was tried.",
                retry_after_s=2,
            ) from None
        if key is None:
            raise Disbelieved("The token is signed with a key that is not known.")
        return key


def _principal(claims: dict[str, Any]) -> Principal:
    subject, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise unauthenticated(f"The token's `sub` must match {ID_PATTERN}.")
    return Principal(subject, _scopes(scope) if isinstance(scope, str) else frozenset())


@lru_cache(maxsize=64)
def _scopes(scope: str) -> frozenset[str]:
    """Of the many tokens that are remembered, nearly all have one of few."""
    return frozenset(scope.split())

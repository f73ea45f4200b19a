"""A JWT taken apart: its signature checked by PyJWT's algorithms, its claims by RFC 7519.

`jwt.decode` spends more on taking a token apart (character by character, twice) than RS256 on its
signature, and in a rush every buyer's token is seen for the first time. What a header may say is
still PyJWT's to judge; there are few different ones, so each is judged once.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any, Final

import jwt
import orjson
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from engine.limits import MAX_TOKEN_HEADS_REMEMBERED

_STRANGE: Final = b"+/="
"""What base64 has and base64url has not."""
_TO_PLAIN: Final = bytes.maketrans(b"-_", b"+/")

NOT_A_JWT: Final = "The token is not a JWT."
NOT_VALID: Final = "The token's signature or form is not valid."


class Disbelieved(Exception):
    """A token that is not to be believed; the message says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a token's header says of its signature."""

    algorithm: str
    key_id: str | None


class Heads:
    """Reads headers, each different one once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, token: bytes, algorithms: tuple[str, ...]) -> Head:
        """The header of a token. Raises `Disbelieved`."""
        text = token[: token.find(b".")]
        head = self._known.get(text)
        if head is None:
            head = _read_head(token, algorithms)
            if len(self._known) >= MAX_TOKEN_HEADS_REMEMBERED:
                # Made up by somebody: an identity service has one for each of its keys.
                self._known.clear()
            self._known[text] = head
        return head


def _read_head(token: bytes, algorithms: tuple[str, ...]) -> Head:
    try:
        head = jwt.get_unverified_header(token)
    except PyJWTError:
        raise Disbelieved(NOT_A_JWT) from None
    algorithm, key_id = head.get("alg"), head.get("kid")
    if algorithm not in algorithms:
        raise Disbelieved("The token's algorithm is not accepted.")
    if key_id is not None and not isinstance(key_id, str):
        raise Disbelieved("The token's key id is not a text.")
    if "crit" in head:
        # RFC 7515: who does not understand a critical parameter must refuse. We know of none.
        raise Disbelieved(NOT_VALID)
    return Head(algorithm, key_id)


def signed_claims(token: bytes, key: PyJWK) -> dict[str, Any]:
    """The claims of a token that `key` has signed. Raises `Disbelieved`."""
    signed, _, signature = token.rpartition(b".")
    head, dot, payload = signed.partition(b".")
    if not (head and dot and payload and signature) or token.translate(None, _STRANGE) != token:
        raise Disbelieved(NOT_A_JWT)
    try:
        # Strict: a letter that is none of base64's, a dot for one, is an error.
        if not key.Algorithm.verify(signed, key.key, _decoded(signature)):
            raise Disbelieved(NOT_VALID)
        claims = orjson.loads(_decoded(payload))
    except (NotBase64, orjson.JSONDecodeError, PyJWTError):
        raise Disbelieved(NOT_VALID) from None
    if not isinstance(claims, dict):
        raise Disbelieved(NOT_VALID)
    return claims


def _decoded(segment: bytes) -> bytes:
    return a2b_base64(segment.translate(_TO_PLAIN) + b"=" * (-len(segment) % 4), strict_mode=True)


def check_claims(claims: dict[str, Any], issuer: str, audience: str, now_s: float) -> float:
    """When the token ends, in seconds since the epoch. Raises `Disbelieved`.

    When a token was issued decides nothing; an identity service whose clock is a second ahead would
    otherwise have its fresh tokens refused.
    """
    for name in ("exp", "sub", "iss", "aud"):
        if claims.get(name) is None:
            raise Disbelieved(f"The token lacks `{name}`.")
    if "nbf" in claims and _seconds(claims["nbf"]) > now_s:
        raise Disbelieved("The token is not valid yet.")
    ends_s = _seconds(claims["exp"])
    if ends_s <= now_s:
        raise Disbelieved("The token has expired.")
    if claims["iss"] != issuer:
        raise Disbelieved("The token is of another issuer.")
    meant_for = claims["aud"]
    if meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        raise Disbelieved("The token is meant for another audience.")
    return ends_s


def _seconds(value: Any) -> float:
    """A NumericDate."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Disbelieved(NOT_VALID)
    return float(value)

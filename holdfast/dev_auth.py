"""Development's identity service: a key pair in the data directory, and tokens signed with it.

In production `HOLDFAST_JWKS_URL` names a real one, and nothing here is trusted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.embedded.process import keep_secret, write_private
from holdfast.system import NotRunning

ISSUER: Final = "holdfast-dev"
AUDIENCE: Final = "holdfast"
ALGORITHM: Final = "EdDSA"
KEY_ID: Final = "holdfast-dev"
RUN_TOKEN_TTL_S: Final = 30 * 24 * 3600
TOKEN_TTL_S: Final = 24 * 3600
KEY_FILE: Final = "dev-key.pem"
JWKS_FILE: Final = "dev-jwks.json"
RUN_TOKENS: Final = (
    ("admin", "admin", "admin"),
    ("service", "service", "bookings:any"),
    ("customer", "customer-1", "bookings"),
)
"""The tokens of `run.json`: name, subject, scope."""


@dataclass(frozen=True, slots=True)
class DevKey:
    """The private key, and what its tokens say of who made them and for whom."""

    key: Ed25519PrivateKey
    issuer: str = ISSUER
    audience: str = AUDIENCE

    def tokens(self, subjects: Iterator[str], scope: str, ttl_s: int) -> Iterator[str]:
        """Yield a token for each subject."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "scope": scope,
            "iat": now,
            "exp": now + ttl_s,
        }
        for subject in subjects:
            yield jwt.encode(
                {**claims, "sub": subject}, self.key, ALGORITHM, headers={"kid": KEY_ID}
            )

    def token(self, subject: str, scope: str, ttl_s: int) -> str:
        """One token."""
        return next(self.tokens(iter((subject,)), scope, ttl_s))


def make_key() -> str:
    """A new private key, in PEM."""
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode("ascii")
    )


def keep_key(directory: Path) -> Path:
    """Make the key pair if there is none; return the file with the public half, a JWKS."""
    key = _parse(keep_secret(directory / KEY_FILE, make_key))
    public = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks = {"keys": [{**public, "kid": KEY_ID, "alg": ALGORITHM, "use": "sig"}]}
    path = directory / JWKS_FILE
    write_private(path, json.dumps(jwks, indent=2) + "\n")
    return path


def read_key(directory: Path, issuer: str = ISSUER, audience: str = AUDIENCE) -> DevKey:
    """The key pair of a data directory. Raises NotRunning where there is none."""
    path = directory / KEY_FILE
    if not path.exists():
        raise NotRunning(f"{path} is not there: `holdfast up` makes it")
    return DevKey(_parse(path.read_text(encoding="ascii")), issuer, audience)


def _parse(pem: str) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(pem.encode("ascii"), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key

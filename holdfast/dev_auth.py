"""Development's identity service: a key pair in the data directory, and tokens signed with it.

In production `HOLDFAST_JWKS_URL` names a real one, and nothing here is trusted. RS256 is what most
of them sign with, and what costs least to verify: 20 us, where ES256 takes 60 and EdDSA 100.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from holdfast.embedded.process import keep_secret, write_private
from holdfast.system import NotRunning

ISSUER: Final = "holdfast-dev"
AUDIENCE: Final = "holdfast"
KEY_BITS: Final = 2048
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


PrivateKey = RSAPrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class DevKey:
    """The private key, and what its tokens say of who made them and for whom."""

    key: PrivateKey
    issuer: str = ISSUER
    audience: str = AUDIENCE

    @property
    def algorithm(self) -> str:
        """What it signs by. Directories of before have a key for EdDSA."""
        return "RS256" if isinstance(self.key, RSAPrivateKey) else "EdDSA"

    def jwk(self) -> dict[str, Any]:
        """The public half."""
        if isinstance(self.key, RSAPrivateKey):
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            public = jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "kid": KEY_ID, "alg": self.algorithm, "use": "sig"}

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
                {**claims, "sub": subject}, self.key, self.algorithm, headers={"kid": KEY_ID}
            )

    def token(self, subject: str, scope: str, ttl_s: int) -> str:
        """One token."""
        return next(self.tokens(iter((subject,)), scope, ttl_s))


def make_key() -> str:
    """A new private key, in PEM."""
    return (
        generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode("ascii")
    )


def keep_key(directory: Path) -> Path:
    """Make the key pair if there is none; return the file with the public half, a JWKS."""
    key = DevKey(_parse(keep_secret(directory / KEY_FILE, make_key)))
    jwks = {"keys": [key.jwk()]}
    path = directory / JWKS_FILE
    write_private(path, json.dumps(jwks, indent=2) + "\n")
    return path


def read_key(directory: Path, issuer: str = ISSUER, audience: str = AUDIENCE) -> DevKey:
    """The key pair of a data directory. Raises NotRunning where there is none."""
    path = directory / KEY_FILE
    if not path.exists():
        raise NotRunning(f"{path} is not there: `holdfast up` makes it")
    return DevKey(_parse(path.read_text(encoding="ascii")), issuer, audience)


def _parse(pem: str) -> PrivateKey:
    key = serialization.load_pem_private_key(pem.encode("ascii"), password=None)
    assert isinstance(key, (Ed25519PrivateKey, RSAPrivateKey))
    return key

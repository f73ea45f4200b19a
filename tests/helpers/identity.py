"""An identity service for tests: keys of every accepted kind, a JWKS, tokens right and wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER: Final = "https://identity.example"
AUDIENCE: Final = "holdfast"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def make_private_key(algorithm: str) -> PrivateKey:
    """A key for an algorithm of RFC 7518 or 8037."""
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm.startswith("ES"):
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        return ec.generate_private_key(curves[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(private: PrivateKey) -> dict[str, Any]:
    """The public half as a JWK."""
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)


class Identity:
    """One key, and what is said with it. `path` holds the JWKS."""

    def __init__(self, path: Path, algorithm: str = "EdDSA", key_id: str | None = "k1") -> None:
        self.path = path
        self.algorithm = algorithm
        self.key_id = key_id
        self.private = make_private_key(algorithm)
        self.publish()

    @property
    def url(self) -> str:
        """Where the JWKS is."""
        return self.path.as_uri()

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as it is published; a change to None leaves a member out."""
        members = {**public_jwk(self.private), "kid": self.key_id, "use": "sig", **changes}
        return {name: value for name, value in members.items() if value is not None}

    def publish(self, *jwks: dict[str, Any]) -> None:
        """Write the JWKS: these keys, or this identity's own."""
        self.path.write_bytes(orjson.dumps({"keys": list(jwks) or [self.jwk()]}))

    def rotate(self, key_id: str) -> None:
        """Go over to a new key and publish it alone."""
        self.private = make_private_key(self.algorithm)
        self.key_id = key_id
        self.publish()

    def token(
        self,
        sub: Any = "ann",
        scope: Any = "bookings",
        *,
        head: dict[str, Any] | None = None,
        algorithm: str | None = None,
        key: Any = None,
        **changes: Any,
    ) -> str:
        """A token that is right but for `changes`; a claim changed to None is left out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "sub": sub,
            "scope": scope,
            **changes,
        }
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self.private if key is None else key,
            algorithm or self.algorithm,
            headers={"kid": self.key_id, **(head or {})} if self.key_id else head,
        )

    def bearer(self, *arguments: Any, **changes: Any) -> bytes:
        """The Authorization header's value for such a token."""
        return b"Bearer " + self.token(*arguments, **changes).encode()

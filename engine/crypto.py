"""Personal data at rest: encrypted with rotating keys, never in the journal (rule 14)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson
from cryptography.fernet import Fernet, MultiFernet

from engine.types import Contact


class Vault:
    """Encrypts with the first key, decrypts with any: `HOLDFAST_DATA_KEY` with several keys."""

    def __init__(self, data_keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key.encode()) for key in data_keys])
        # The oldest key: adding a new one in front must not change the fingerprints of requests
        # that were first sent before the rotation.
        self._pepper = hashlib.sha256(b"fingerprint:" + data_keys[-1].encode()).digest()

    def encrypt(self, contact: Contact) -> bytes:
        """Ciphertext of a contact."""
        return self._fernet.encrypt(orjson.dumps({"email": contact.email, "phone": contact.phone}))

    def decrypt(self, ciphertext: bytes) -> Contact:
        """The contact that `encrypt` was given. Raises `cryptography.fernet.InvalidToken`."""
        fields = orjson.loads(self._fernet.decrypt(ciphertext))
        return Contact(email=fields["email"], phone=fields["phone"])

    def seal(self, secret: bytes) -> bytes:
        """Ciphertext of something that is no contact."""
        return self._fernet.encrypt(secret)

    def unseal(self, ciphertext: bytes) -> bytes:
        """What `seal` was given. Raises `cryptography.fernet.InvalidToken`."""
        return self._fernet.decrypt(ciphertext)

    def fingerprint(self, *parts: str) -> str:
        """32 hex digits that tell whether two requests said the same.

        Keyed, because the journal carries it and a contact is easy to guess from a plain hash.
        """
        text = "\x00".join(parts).encode()
        return hashlib.blake2b(text, digest_size=16, key=self._pepper).hexdigest()

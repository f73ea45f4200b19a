"""Personal data at rest: encrypted with rotating keys, never in the journal (rule 14)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from typing import Final

import orjson
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from engine.types import Contact

_EMAIL_INFO: Final = b"holdfast: finding contacts by e-mail, 1"
_HASH_BYTES: Final = 16
_COLON: Final = b":"
"""Between hash and ciphertext: neither hex digits nor Fernet's base64 have one."""


class Vault:
    """Encrypts with the first key, decrypts with any: `HOLDFAST_DATA_KEY` with several keys."""

    def __init__(self, data_keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key.encode()) for key in data_keys])
        # The oldest key: adding a new one in front must not change the fingerprints of requests
        # that were first sent before the rotation.
        self._pepper = hashlib.sha256(b"fingerprint:" + data_keys[-1].encode()).digest()
        # What a key encrypts is found under the same key: a contact can be found for as long as it
        # can be read, and a key that is retired takes both away.
        self._email_keys = [_email_key(key) for key in data_keys]

    def seal_contact(self, contact: Contact) -> bytes:
        """What lies beside a booking: the ciphertext, after its e-mail's hash if it has one; ASCII.

        Only who is told the address can compute the hash; the drain, which writes it down for the
        search, never decrypts.
        """
        ciphertext = self.encrypt(contact)
        if contact.email is None:
            return ciphertext
        hashed = _email_hash(self._email_keys[0], contact.email)
        return hashed.hex().encode() + _COLON + ciphertext

    def email_hashes(self, email: str) -> list[bytes]:
        """The hashes of an e-mail under every key, to find it by whichever is beside it."""
        return [_email_hash(key, email) for key in self._email_keys]

    def encrypt(self, contact: Contact) -> bytes:
        """Ciphertext of a contact."""
        return self._fernet.encrypt(orjson.dumps({"email": contact.email, "phone": contact.phone}))

    def decrypt(self, ciphertext: bytes) -> Contact:
        """The contact that `encrypt` or `seal_contact` was given.

        Raises `cryptography.fernet.InvalidToken`.
        """
        fields = orjson.loads(self._fernet.decrypt(ciphertext.rpartition(_COLON)[2]))
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


def email_hash_of(sealed: bytes) -> bytes | None:
    """The hash that `Vault.seal_contact` put in front; None where there is none."""
    hashed = sealed.rpartition(_COLON)[0]
    return bytes.fromhex(hashed.decode()) if hashed else None


def _email_key(data_key: str) -> bytes:
    """A key of its own purpose, from which nobody comes back to the data key."""
    secret = base64.urlsafe_b64decode(data_key)
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_EMAIL_INFO).derive(secret)


def _email_hash(key: bytes, email: str) -> bytes:
    """The same for an address in capitals: nobody means another person by them."""
    text = unicodedata.normalize("NFC", email).casefold().encode()
    return hmac.digest(key, text, "sha256")[:_HASH_BYTES]

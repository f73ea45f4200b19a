"""Personal data at rest, and fingerprints of requests."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet, InvalidToken

from engine.crypto import Vault, email_hash_of
from engine.types import Contact

OLD = Fernet.generate_key().decode()
NEW = Fernet.generate_key().decode()
CONTACT = Contact("ann@example.com", "+4912345")


@pytest.mark.parametrize(
    "contact",
    [Contact(), Contact(email="ann@example.org"), Contact("ann@exämple.org", "+49 123")],
)
def test_a_contact_comes_back_as_it_was(contact: Contact) -> None:
    vault = Vault([OLD])
    text = vault.encrypt(contact)
    assert b"ann" not in text
    assert vault.decrypt(text) == contact


def test_what_an_older_key_encrypted_can_be_read_after_a_rotation() -> None:
    contact = Contact(email="ann@example.org")
    text = Vault([OLD]).encrypt(contact)
    assert Vault([NEW, OLD]).decrypt(text) == contact


def test_the_first_key_encrypts() -> None:
    text = Vault([NEW, OLD]).encrypt(Contact())
    assert Vault([NEW]).decrypt(text) == Contact()
    with pytest.raises(InvalidToken):
        Vault([OLD]).decrypt(text)


def test_a_contact_that_was_tampered_with_is_refused() -> None:
    vault = Vault([OLD])
    text = bytearray(vault.encrypt(Contact()))
    text[-3] ^= 1
    with pytest.raises(InvalidToken):
        vault.decrypt(bytes(text))


def test_fingerprints_differ_where_requests_do() -> None:
    vault = Vault([OLD])
    texts = [("A:1", "'x'", "None"), ("A:1'x'", "", "None"), ("A:1", "None", "'x'"), ("A:1",)]
    assert len({vault.fingerprint(*parts) for parts in texts}) == len(texts)
    assert all(len(vault.fingerprint(*parts)) == 32 for parts in texts)


def test_a_new_key_in_front_changes_no_fingerprint() -> None:
    assert Vault([OLD]).fingerprint("A:1") == Vault([NEW, OLD]).fingerprint("A:1")


def test_a_fingerprint_cannot_be_guessed_without_the_key() -> None:
    assert Vault([OLD]).fingerprint("A:1") != Vault([NEW]).fingerprint("A:1")


def test_what_is_sealed_opens_and_its_hash_is_among_those_that_are_looked_for() -> None:
    vault = Vault([OLD])
    sealed = vault.seal_contact(CONTACT)
    assert vault.decrypt(sealed) == CONTACT
    assert CONTACT.email
    hashed = email_hash_of(sealed)
    assert [hashed] == vault.email_hashes(CONTACT.email) == vault.email_hashes("ANN@Example.com")
    assert hashed not in vault.email_hashes("ann@example.org")


def test_a_contact_without_an_e_mail_has_no_hash() -> None:
    vault = Vault([OLD])
    phone = Contact(phone="+4912345")
    assert email_hash_of(vault.seal_contact(phone)) is None
    assert vault.decrypt(vault.seal_contact(phone)) == phone
    bare = vault.encrypt(CONTACT)
    assert email_hash_of(bare) is None, "as it was kept before there were hashes"


def test_a_hash_is_found_for_as_long_as_its_contact_can_be_read() -> None:
    hashed = email_hash_of(Vault([OLD]).seal_contact(CONTACT))
    assert CONTACT.email
    assert hashed in Vault([NEW, OLD]).email_hashes(CONTACT.email)
    newer = email_hash_of(Vault([NEW, OLD]).seal_contact(CONTACT))
    assert newer in Vault([NEW]).email_hashes(CONTACT.email)
    assert hashed not in Vault([NEW]).email_hashes(CONTACT.email)

"""Whose token is believed, and why another's is not."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization

from api import auth, jwks
from api.auth import Verifier
from api.call import Principal
from api.jwks import ALGORITHMS, KeySet
from api.problems import Problem
from engine.limits import MAX_TOKEN_BYTES
from tests.helpers.identity import AUDIENCE, ISSUER, Identity


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path / "jwks.json")


@pytest.fixture
async def verifier(identity: Identity) -> AsyncIterator[Verifier]:
    keys = KeySet(identity.url)
    yield Verifier(keys, ISSUER, AUDIENCE)
    await keys.close()


async def refused(verifier: Verifier, header: bytes | None) -> Problem:
    with pytest.raises(Problem) as caught:
        await verifier.principal(header)
    problem = caught.value
    assert (problem.status, problem.code) == (401, "unauthenticated")
    assert dict(problem.headers)[b"www-authenticate"].startswith(b"Bearer")
    return problem


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_each_accepted_algorithm_is_believed(
    tmp_path: Path, algorithm: str
) -> None:
    identity = Identity(tmp_path / "jwks.json", algorithm)
    verifier = Verifier(KeySet(identity.url), ISSUER, AUDIENCE)
    principal = await verifier.principal(identity.bearer("ann", "bookings admin"))
    assert principal == Principal("ann", frozenset({"bookings", "admin"}))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"exp": -1}, "expired"),
        ({"exp": None}, "lacks `exp`"),
        ({"nbf": 60}, "not valid yet"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "lacks `iss`"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "lacks `aud`"),
        ({"sub": None}, "lacks `sub`"),
        ({"sub": ""}, "`sub` must match"),
        ({"sub": "ann@mail.example"}, "`sub` must match"),
        ({"sub": "a" * 65}, "`sub` must match"),
        ({"sub": "ann\n"}, "`sub` must match"),
        ({"head": {"kid": "other"}}, "a key that is not known"),
    ],
)
async def test_a_token_that_is_wrong_is_refused_and_told_why(
    identity: Identity, verifier: Verifier, changes: dict[str, Any], detail: str
) -> None:
    now = int(time.time())
    changes = {
        name: now + value if isinstance(value, int) else value for name, value in changes.items()
    }
    assert detail in (await refused(verifier, identity.bearer(**changes))).detail


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer a b", b"Bearer x", b"Bearer a.b.c"],
)
async def test_what_is_no_bearer_token_is_refused(verifier: Verifier, header: bytes | None) -> None:
    await refused(verifier, header)


async def test_a_token_longer_than_its_bound_is_refused_unread(verifier: Verifier) -> None:
    problem = await refused(verifier, b"Bearer " + b"a" * MAX_TOKEN_BYTES)
    assert "too long" in problem.detail


async def test_a_signature_that_was_changed_is_refused(
    identity: Identity, verifier: Verifier
) -> None:
    other = Identity(identity.path.with_name("other.json"))
    await refused(verifier, identity.bearer(key=other.private))
    head, claims, signature = identity.token().split(".")
    forged = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
    forged["scope"] = "admin"
    text = base64.urlsafe_b64encode(orjson.dumps(forged)).rstrip(b"=").decode()
    await refused(verifier, f"Bearer {head}.{text}.{signature}".encode())


async def test_a_symmetric_or_missing_algorithm_is_refused(
    identity: Identity, verifier: Verifier
) -> None:
    public = identity.private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    for algorithm, key in (("HS256", public), ("HS512", b"x" * 64), ("none", "")):
        problem = await refused(verifier, identity.bearer(algorithm=algorithm, key=key))
        assert "algorithm" in problem.detail


async def test_a_symmetric_key_in_the_jwks_verifies_nothing(
    identity: Identity, verifier: Verifier
) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
    identity.publish({"kty": "oct", "k": secret, "kid": "k1"})
    with pytest.raises(Problem) as caught:
        await verifier.principal(identity.bearer(algorithm="EdDSA"))
    assert caught.value.code == "unavailable", "a JWKS without a usable key is none"
    await refused(verifier, identity.bearer(algorithm="HS256", key=b"s" * 32))


async def test_a_key_serves_only_the_algorithm_and_use_it_is_published_for(tmp_path: Path) -> None:
    identity = Identity(tmp_path / "jwks.json", "RS256")
    for changes in ({"alg": "RS512"}, {"use": "enc"}, {"kid": "other"}):
        identity.publish(identity.jwk(**changes), identity.jwk(kid="another"))
        verifier = Verifier(KeySet(identity.url), ISSUER, AUDIENCE)
        assert "not known" in (await refused(verifier, identity.bearer())).detail
    identity.publish(identity.jwk(alg="RS256"))
    verifier = Verifier(KeySet(identity.url), ISSUER, AUDIENCE)
    assert (await verifier.principal(identity.bearer())).sub == "ann"


async def test_without_a_key_id_the_only_key_that_fits_is_used(tmp_path: Path) -> None:
    identity = Identity(tmp_path / "jwks.json", "ES256", key_id=None)
    other = Identity(tmp_path / "other.json", "RS256")
    identity.publish(identity.jwk(), other.jwk())
    verifier = Verifier(KeySet(identity.url), ISSUER, AUDIENCE)
    assert (await verifier.principal(identity.bearer())).sub == "ann"
    identity.publish(identity.jwk(), Identity(tmp_path / "third.json", "ES256").jwk())
    await refused(Verifier(KeySet(identity.url), ISSUER, AUDIENCE), identity.bearer())


@pytest.mark.parametrize("scope", [None, ["admin"], 5, "", "  "])
async def test_a_scope_that_is_no_text_gives_no_scopes(
    identity: Identity, verifier: Verifier, scope: Any
) -> None:
    assert (await verifier.principal(identity.bearer(scope=scope))).scopes == frozenset()


async def test_a_new_key_is_fetched_when_a_token_names_it_and_not_more_often_than_that(
    identity: Identity, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    await verifier.principal(identity.bearer())
    identity.rotate("k2")
    await refused(verifier, identity.bearer())  # too soon after the last fetch
    monkeypatch.setattr(jwks, "JWKS_RETRY_MS", 0)
    assert (await verifier.principal(identity.bearer())).sub == "ann"

    monkeypatch.setattr(jwks, "JWKS_RETRY_MS", 60_000)
    version = verifier.keys.version
    identity.rotate("k3")
    for number in range(20):
        await refused(verifier, identity.bearer(head={"kid": f"made-up-{number}"}))
    assert verifier.keys.version == version


async def test_a_token_of_a_key_that_was_withdrawn_is_forgotten(
    identity: Identity, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "JWKS_RETRY_MS", 0)
    monkeypatch.setattr(jwks, "JWKS_AGE_MS", 0)
    header = identity.bearer()
    await verifier.principal(header)
    identity.rotate("k2")
    await verifier.keys.tend()
    await refused(verifier, header)


async def test_a_remembered_token_ends_when_it_ends(identity: Identity, verifier: Verifier) -> None:
    header = identity.bearer(exp=int(time.time()) + 2)
    await verifier.principal(header)
    await asyncio.sleep(2.05)
    assert "expired" in (await refused(verifier, header)).detail


async def test_what_is_remembered_is_bounded(
    identity: Identity, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "MAX_TOKENS_REMEMBERED", 3)
    headers = [identity.bearer(f"buyer-{number}") for number in range(10)]
    for header in headers * 2:
        assert (await verifier.principal(header)).sub.startswith("buyer-")
    assert len(verifier._remembered) == 3


async def test_old_keys_stay_good_while_the_identity_service_is_away(
    identity: Identity, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "JWKS_RETRY_MS", 0)
    monkeypatch.setattr(jwks, "JWKS_AGE_MS", 0)
    await verifier.principal(identity.bearer())
    identity.path.unlink()
    await verifier.keys.tend()
    assert verifier.keys.error
    assert (await verifier.principal(identity.bearer("bob"))).sub == "bob"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [1]}', b"x" * 600_000]
)
async def test_a_jwks_that_is_none_is_said_to_be_unavailable_and_read_later(
    identity: Identity, verifier: Verifier, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(jwks, "JWKS_RETRY_MS", 0)
    identity.path.write_bytes(text)
    with pytest.raises(Problem) as caught:
        await verifier.principal(identity.bearer())
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    identity.publish()
    await verifier.keys.tend()
    assert verifier.keys.known
    assert (await verifier.principal(identity.bearer())).sub == "ann"


async def test_keys_are_fetched_over_http_once_for_everybody_who_waits(identity: Identity) -> None:
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        body = identity.path.read_bytes()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        verifier = Verifier(KeySet(f"http://127.0.0.1:{port}/keys"), ISSUER, AUDIENCE)
        headers = [identity.bearer(f"buyer-{number}") for number in range(50)]
        found = await asyncio.gather(*(verifier.principal(header) for header in headers))
        await verifier.keys.close()
    assert [principal.sub for principal in found] == [f"buyer-{number}" for number in range(50)]
    assert asked == [b"GET /keys HTTP/1.1"]

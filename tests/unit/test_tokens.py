"""A token taken apart by us is judged as PyJWT judges it."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from api.tokens import Disbelieved, Heads, check_claims, signed_claims
from engine.limits import MAX_TOKEN_HEADS_REMEMBERED
from tests.helpers.identity import AUDIENCE, ISSUER, Identity

NOW = int(time.time())
GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 60}


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(Path(tmp_path_factory.mktemp("identity")) / "jwks.json", "ES256")


@pytest.fixture(scope="module")
def key(identity: Identity) -> PyJWK:
    return PyJWK(identity.jwk(), "ES256")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": [AUDIENCE, "other"]},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": {"holdfast": 1}},
        {"aud": 7},
        {"iss": [ISSUER]},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": NOW + 0.5 + 60},
        {"exp": "soon"},
        {"exp": [NOW + 60]},
        {"exp": None},
        {"nbf": NOW + 60},
        {"nbf": NOW - 1},
        {"nbf": "now"},
        {"iat": NOW + 600},
        {"sub": None},
    ],
)
def test_claims_are_believed_exactly_when_pyjwt_believes_them(
    identity: Identity, changes: dict[str, Any]
) -> None:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    token = jwt.PyJWS().encode(orjson.dumps(claims), identity.private, "ES256")
    try:
        jwt.decode(
            token,
            identity.private.public_key(),
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "sub", "iss", "aud"], "verify_iat": False},
        )
        believed = True
    except PyJWTError:
        believed = False
    try:
        assert check_claims(claims, ISSUER, AUDIENCE, time.time()) == claims["exp"]
        ours = True
    except Disbelieved:
        ours = False
    assert ours is believed


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize(
    "value", [True, str(NOW + 60), {"at": NOW}], ids=["a_bool", "a_text", "an_object"]
)
def test_a_time_that_is_no_number_is_not_believed(claim: str, value: Any) -> None:
    with pytest.raises(Disbelieved):
        check_claims({**GOOD, claim: value}, ISSUER, AUDIENCE, float(NOW))


def test_what_was_signed_is_read(identity: Identity, key: PyJWK) -> None:
    token = identity.token().encode()
    assert signed_claims(token, key)["sub"] == "ann"


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_change_anywhere_in_a_token_is_found(identity: Identity, key: PyJWK, at: int) -> None:
    parts = identity.token().split(".")
    changed = "B" if parts[at][5] != "B" else "C"
    parts[at] = parts[at][:5] + changed + parts[at][6:]
    with pytest.raises(Disbelieved):
        signed_claims(".".join(parts).encode(), key)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token.replace(".", "..", 1),
        lambda token: token + ".x",
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0] + ".A",
        lambda token: token[:-1],
        lambda token: token.replace(".", "\n.", 1),
    ],
)
def test_a_token_of_another_form_is_not_believed(
    identity: Identity, key: PyJWK, spoil: Any
) -> None:
    with pytest.raises(Disbelieved):
        signed_claims(spoil(identity.token()).encode(), key)


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b"{", b'{"exp":NaN}', b"\xff"])
def test_signed_text_that_is_no_object_is_not_believed(
    identity: Identity, key: PyJWK, text: bytes
) -> None:
    token = jwt.PyJWS().encode(text, identity.private, "ES256")
    with pytest.raises(Disbelieved):
        signed_claims(token.encode(), key)


def test_a_critical_extension_is_refused(identity: Identity) -> None:
    head = {"alg": "ES256", "crit": ["b64"], "b64": True}
    text = base64.urlsafe_b64encode(orjson.dumps(head)).rstrip(b"=")
    with pytest.raises(Disbelieved):
        Heads().read(text + b".e30.AAAA", ("ES256",))


def test_headers_that_somebody_makes_up_do_not_pile_up(identity: Identity) -> None:
    heads = Heads()
    for number in range(MAX_TOKEN_HEADS_REMEMBERED + 10):
        token = identity.token(head={"kid": f"made-up-{number}"}).encode()
        assert heads.read(token, ("ES256",)).key_id == f"made-up-{number}"
    assert len(heads._known) == 10

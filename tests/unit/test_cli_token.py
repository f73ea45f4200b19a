"""`holdfast token`: development's tokens, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast import cli, dev_auth
from holdfast.system import DataDirectory


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def decode(
    token: str, directory: Path, audience: str = dev_auth.AUDIENCE, *, algorithm: str = "RS256"
) -> dict[str, Any]:
    jwks = json.loads((directory / dev_auth.JWKS_FILE).read_text())
    key = jwt.PyJWKSet.from_dict(jwks)[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, [algorithm], audience=audience)
    return claims


def test_tokens_verify_against_the_public_key_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev_auth.keep_key(tmp_path)
    key = (tmp_path / dev_auth.KEY_FILE).read_bytes()
    dev_auth.keep_key(tmp_path)
    assert (tmp_path / dev_auth.KEY_FILE).read_bytes() == key, "made once"
    common = ["token", "--data", str(tmp_path), "--sub", "ann"]
    assert cli.main([*common]) == 0
    claims = decode(capsys.readouterr().out.strip(), tmp_path)
    assert (claims["sub"], claims["scope"], claims["iss"]) == ("ann", "bookings", "holdfast-dev")
    assert claims["exp"] - claims["iat"] == 24 * 3600

    assert cli.main([*common, "--count", "3", "--scope", "bookings admin", "--ttl", "5"]) == 0
    several = [decode(line, tmp_path) for line in capsys.readouterr().out.split()]
    assert [claims["sub"] for claims in several] == ["ann-1", "ann-2", "ann-3"]
    assert {claims["scope"] for claims in several} == {"bookings admin"}
    assert {claims["exp"] - claims["iat"] for claims in several} == {5}
    assert (tmp_path / dev_auth.KEY_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("length", "code"), [(62, 0), (63, 2), (64, 2)])
def test_a_subject_that_is_too_long_once_it_is_numbered_is_wrong_usage(
    length: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev_auth.keep_key(tmp_path)
    sub = "a" * length
    common = ["token", "--data", str(tmp_path), "--sub", sub]
    assert cli.main([*common, "--count", "9"]) == code
    said = capsys.readouterr()
    assert bool(said.out) == (code == 0)
    assert ("--sub" in said.err) == (code == 2)
    assert cli.main(common) == 0, "which is not numbered"


def test_the_longest_of_the_numbered_subjects_has_to_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev_auth.keep_key(tmp_path)
    assert cli.main(["token", "--data", str(tmp_path), "--sub", "a" * 62, "--count", "10"]) == 2
    assert not capsys.readouterr().out


def test_a_directory_whose_key_is_for_another_algorithm_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / dev_auth.KEY_FILE).write_bytes(pem)
    dev_auth.keep_key(tmp_path)
    assert cli.main(["token", "--data", str(tmp_path), "--sub", "ann"]) == 0
    assert decode(capsys.readouterr().out.strip(), tmp_path, algorithm="EdDSA")["sub"] == "ann"


def test_tokens_say_what_the_systems_settings_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dev_auth.keep_key(tmp_path)
    DataDirectory(tmp_path).write_settings(
        {"HOLDFAST_JWT_ISSUER": "me", "HOLDFAST_JWT_AUDIENCE": "you"}
    )
    assert cli.main(["token", "--data", str(tmp_path), "--sub", "ann"]) == 0
    assert decode(capsys.readouterr().out.strip(), tmp_path, "you")["iss"] == "me"
    monkeypatch.setenv("HOLDFAST_JWKS_URL", "https://identity.example/jwks")
    assert cli.main(["token", "--data", str(tmp_path), "--sub", "ann"]) == 2
    assert "HOLDFAST_JWKS_URL" in capsys.readouterr().err


def test_tokens_without_a_key_are_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["token", "--data", str(tmp_path), "--sub", "ann"]) == 3
    assert not capsys.readouterr().out


def test_a_reader_that_has_enough_ends_the_command_in_silence(tmp_path: Path) -> None:
    dev_auth.keep_key(tmp_path)
    writer = subprocess.Popen(
        (
            *(sys.executable, "-m", "holdfast", "token", "--data", str(tmp_path)),
            *("--sub", "ann", "--count", "2000"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent,
    )
    assert writer.stdout
    assert writer.stderr
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 0
    writer.stderr.close()

"""Mail over TLS: what is asked for is had, or nothing is sent; nor is a password before it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.smtp import open_sessions, server_of

MESSAGE = b"Subject: Hello\r\n\r\ntext\r\n"


@dataclass
class Secure:
    """A server with a certificate: TLS from the first byte on one port, STARTTLS on the other."""

    certificate: Path
    smtps: int = 0
    starttls: int = 0
    plain: int = 0
    """A third port, which knows no TLS."""
    taken: list[bool] = field(default_factory=list)
    """Of each message, whether it came over TLS."""
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        assert server.transport
        self.taken.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _how: str, data: Any
    ) -> Any:
        """Let everybody in."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=True)


def certify(directory: Path) -> Path:
    """A certificate for localhost that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    one = Secure(certify(tmp_path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(one.certificate)
    loop = asyncio.get_running_loop()

    def smtp(**more: Any) -> SMTP:
        return SMTP(one, loop=loop, authenticator=one.authenticate, **more)

    servers = [
        await loop.create_server(lambda: smtp(auth_require_tls=False), "localhost", ssl=context),
        await loop.create_server(lambda: smtp(tls_context=context), "localhost"),
        await loop.create_server(lambda: smtp(auth_require_tls=False), "localhost"),
    ]
    one.smtps, one.starttls, one.plain = (server.sockets[0].getsockname()[1] for server in servers)
    try:
        yield one
    finally:
        for server in servers:
            server.close()


@pytest.fixture
def trusted(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's authorities vouch for the server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))


async def send(url: str, mails: int = 1) -> None:
    async with open_sessions(server_of(url)) as sessions:
        for _ in range(mails):
            await sessions.send("shop@shop.example", "ann@example.com", MESSAGE)


@pytest.mark.usefixtures("trusted")
async def test_mails_and_the_password_go_over_tls_once_for_a_session(secure: Secure) -> None:
    await send(f"smtps://user:p%40ss@localhost:{secure.smtps}", mails=2)
    await send(f"smtp+starttls://user:p%40ss@localhost:{secure.starttls}", mails=2)
    await send(f"smtp://user:p%40ss@localhost:{secure.starttls}", mails=2)
    assert secure.taken == [True] * 6
    assert secure.logins == [(b"user", b"p@ss")] * 3


@pytest.mark.usefixtures("trusted")
async def test_without_tls_nothing_is_sent_where_it_was_asked_for_nor_a_password_ever(
    secure: Secure,
) -> None:
    for asked in ("smtp+starttls://", "smtp+starttls://user:pass@", "smtp://user:pass@"):
        with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
            await send(f"{asked}localhost:{secure.plain}")
    assert (secure.taken, secure.logins) == ([], [])
    await send(f"smtp://localhost:{secure.plain}")
    assert secure.taken == [False]


async def test_a_server_for_which_nobody_vouches_is_sent_nothing(secure: Secure) -> None:
    for url in (
        f"smtps://user:pass@localhost:{secure.smtps}",
        f"smtp+starttls://user:pass@localhost:{secure.starttls}",
        f"smtp://user:pass@localhost:{secure.starttls}",
    ):
        with pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)):
            await send(url)
    assert (secure.taken, secure.logins) == ([], [])


@pytest.mark.usefixtures("trusted")
async def test_a_server_by_another_name_than_its_certificate_is_sent_nothing(
    secure: Secure,
) -> None:
    with pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)):
        await send(f"smtps://127.0.0.1:{secure.smtps}")
    assert secure.taken == []

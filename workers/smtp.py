"""SMTP sessions: opened where there is none, kept for the next mail, given up after a while."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from engine.limits import MAX_MAILS_PER_SESSION, SMTP_IDLE_MS, SMTP_QUIT_MS, SMTP_TIMEOUT_MS

_PERMANENT: Final = 500
_FAULTS: Final = (aiosmtplib.SMTPException, OSError)


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server, as `HOLDFAST_SMTP_URL` names it."""

    host: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool
    start_tls: bool | None


def server_of(url: str) -> Server:
    """Read `smtp://`, `smtp+starttls://` or `smtps://[user:password@]host[:port]`.

    With a password `smtp://` asks for TLS too: else whoever sits between would only have to hide
    that the server offers it.

    Raises:
        ValueError: it is none of these.
    """
    parts = urlsplit(url)
    start_tls: bool | None
    if parts.scheme == "smtps":
        port, use_tls, start_tls = 465, True, False
    elif parts.scheme == "smtp+starttls":
        port, use_tls, start_tls = 587, False, True
    elif parts.scheme == "smtp":
        port, use_tls, start_tls = 587, False, True if parts.username else None
    else:
        raise ValueError("must be smtp://, smtp+starttls:// or smtps://[user:password@]host[:port]")
    if not parts.hostname:
        raise ValueError("lacks a host")
    return Server(
        host=parts.hostname,
        port=parts.port or port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        use_tls=use_tls,
        start_tls=start_tls,
    )


@dataclass(slots=True, eq=False)
class _Session:
    """A connection to the server, the mails that went over it, and what ends it if idle."""

    client: aiosmtplib.SMTP
    mails: int = 0
    expiry: asyncio.TimerHandle | None = None


class Sessions:
    """The sessions of one worker with one server: as many as it sends mails at once.

    One is kept for `MAX_MAILS_PER_SESSION` mails and for `SMTP_IDLE_MS` without one, which is less
    than servers and what lies between grant, so that it is seldom found dead.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept: list[_Session] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._own_name: str | None = None
        # Reading the authorities' certificates takes longer than sending a mail.
        self._tls = ssl.create_default_context()

    async def send(self, sender: str, recipient: str, message: bytes) -> str:
        """Have the server take a message; what it said to that.

        A session that was kept may have ended meanwhile, or may not be wanted any longer: where
        that shows before the message was begun, it is sent over a new one. Later nobody knows
        whether it was taken, and it is for the caller to send it again.

        Raises:
            aiosmtplib.SMTPException, OSError: it was refused, or was not taken as far as is known.
        """
        if kept := self._take():
            try:
                await self._envelope(kept, sender, recipient)
            except _Stale:
                pass
            else:
                return await self._message(kept, message)
        fresh = await self._open()
        try:
            await self._envelope(fresh, sender, recipient)
        except _Stale as stale:
            raise stale.fault from None
        return await self._message(fresh, message)

    async def close(self) -> None:
        """End all sessions."""
        while session := self._take():
            self._leave(session)
        if self._leaving:
            await asyncio.wait(tuple(self._leaving))

    def _take(self) -> _Session | None:
        """The session that was used last: those that are too many have time to end."""
        while self._kept:
            session = self._kept.pop()
            assert session.expiry
            session.expiry.cancel()
            if session.client.is_connected:
                return session
        return None

    async def _open(self) -> _Session:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.use_tls,
            start_tls=server.start_tls,
            tls_context=self._tls,
            # Found out by the first: it may be a question to a name server.
            local_hostname=self._own_name,
            timeout=SMTP_TIMEOUT_MS / 1000,
        )
        await client.connect()
        self._own_name = client.local_hostname
        return _Session(client)

    async def _envelope(self, session: _Session, sender: str, recipient: str) -> None:
        """Say whom a message is from and to. Raises `_Stale` where another session may do."""
        client = session.client
        plain = (sender + recipient).isascii()
        options, encoding = ([], "ascii") if plain else (["SMTPUTF8"], "utf-8")
        begun = False
        try:
            if not plain:
                if client.is_ehlo_or_helo_needed:
                    await client.ehlo()
                if not client.supports_extension("smtputf8"):
                    raise aiosmtplib.SMTPNotSupported("addresses beyond ASCII")
            await client.mail(sender, options=options, encoding=encoding)
            begun = True
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPTimeoutError:
            client.close()
            raise
        except _FAULTS as fault:
            busy = not begun and 0 < getattr(fault, "code", 0) < _PERMANENT
            if busy or not client.is_connected:
                client.close()
                raise _Stale(fault) from fault
            await self._reset(session)
            raise
        except BaseException:
            # In the middle of a command: what comes next on it would be this one's answer.
            client.close()
            raise

    async def _message(self, session: _Session, message: bytes) -> str:
        client = session.client
        try:
            answer = await client.data(message)
        except aiosmtplib.SMTPDataError:
            await self._reset(session)
            raise
        except BaseException:
            client.close()
            raise
        self._keep(session)
        return answer.message

    async def _reset(self, session: _Session) -> None:
        """Keep a session after a refusal, if its server does."""
        try:
            await session.client.rset()
        except _FAULTS:
            session.client.close()
        except BaseException:
            session.client.close()
            raise
        else:
            self._keep(session)

    def _keep(self, session: _Session) -> None:
        session.mails += 1
        if session.mails >= MAX_MAILS_PER_SESSION:
            self._leave(session)
            return
        loop = asyncio.get_running_loop()
        session.expiry = loop.call_later(SMTP_IDLE_MS / 1000, self._expire, session)
        self._kept.append(session)

    def _expire(self, session: _Session) -> None:
        self._kept.remove(session)
        self._leave(session)

    def _leave(self, session: _Session) -> None:
        task = asyncio.create_task(_quit(session.client))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class _Stale(Exception):
    """A session came to its end before a message was begun; `fault` says how."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault


async def _quit(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(*_FAULTS):
        await client.quit(timeout=SMTP_QUIT_MS / 1000)
    client.close()


@asynccontextmanager
async def open_sessions(server: Server) -> AsyncIterator[Sessions]:
    """Sessions that end with the context."""
    sessions = Sessions(server)
    try:
        yield sessions
    finally:
        await sessions.close()

"""E-mail: notices over SMTP, plain text and HTML, with a Message-ID that a resend keeps."""

from __future__ import annotations

from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from engine.limits import SMTP_TIMEOUT_MS
from persistence.deliveries import Delivery
from workers.notices import Letter
from workers.people import People
from workers.sending import Poison, Told, Verdict

EMAIL: Final = "email"
"""What the channel is called among the destinations."""
_PERMANENT: Final = 500


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

    Raises:
        ValueError: it is none of these.
    """
    parts = urlsplit(url)
    if parts.scheme == "smtps":
        port, use_tls, start_tls = 465, True, False
    elif parts.scheme == "smtp+starttls":
        port, use_tls, start_tls = 587, False, True
    elif parts.scheme == "smtp":
        port, use_tls, start_tls = 587, False, None
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


def domain_of(sender: str) -> str:
    """The domain of an address with or without a name."""
    return parseaddr(sender)[1].rpartition("@")[2]


def message_of(event_id: str, sender: str, recipient: str, letter: Letter) -> EmailMessage:
    """The e-mail of a letter. Its Message-ID is made of the event: a resend has the same.

    Raises:
        ValueError: the recipient cannot be written into a header.
    """
    domain = domain_of(sender)
    user, _, host = recipient.rpartition("@")
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(username=user, domain=host)
    message["Subject"] = letter.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{event_id}.{EMAIL}@{domain}>"
    message["List-Id"] = f"<bookings.{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


class MailSender:
    """Sends notices over SMTP, a connection for each."""

    def __init__(self, server: Server, sender: str, people: People) -> None:
        self._server = server
        self._sender = sender
        self._people = people

    async def send(self, delivery: Delivery) -> Told:
        """Send a notice to whoever left an address."""
        try:
            addressed = await self._people.address(delivery)
            if addressed is None or not addressed.contact.email:
                return Told(Verdict.NOBODY)
            letter = self._people.templates.letter(addressed.notice, addressed.values)
            message = message_of(
                delivery.event.event_id, self._sender, addressed.contact.email, letter
            )
        except (Poison, ValueError, MessageError) as poison:
            return Told(Verdict.POISONED, detail=_safe(poison))
        server = self._server
        try:
            _, answer = await aiosmtplib.send(
                message,
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                use_tls=server.use_tls,
                start_tls=server.start_tls,
                timeout=SMTP_TIMEOUT_MS / 1000,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = [one.code for one in refused.recipients]
            return _refused(max(codes, default=0), "the recipient was refused")
        except aiosmtplib.SMTPDataError as refused:
            return _refused(refused.code, "the message was refused")
        except aiosmtplib.SMTPResponseException as error:
            return Told(Verdict.FAILED, error.code, f"{type(error).__name__}: {error.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Told(Verdict.FAILED, detail=type(error).__name__)
        return Told(Verdict.ARRIVED, 250, None, answer, addressed.written_ms)


def _refused(code: int, what: str) -> Told:
    """What a server said of one message: its text may hold the address, and is not kept."""
    verdict = Verdict.REFUSED if code >= _PERMANENT else Verdict.FAILED
    return Told(verdict, code, f"{what}: {code}")


def _safe(poison: Exception) -> str:
    """Why a notice cannot be said; of an address only that it was the matter."""
    return str(poison) if isinstance(poison, Poison) else f"the address: {type(poison).__name__}"

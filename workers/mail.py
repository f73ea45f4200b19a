"""E-mail: notices over SMTP, plain text and HTML, with a Message-ID that a resend keeps."""

from __future__ import annotations

import re
from binascii import b2a_qp
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.utils import formatdate, parseaddr
from functools import cache
from typing import Final

import aiosmtplib

from persistence.deliveries import Delivery
from workers.notices import Letter
from workers.people import People
from workers.sending import Poison, Told, Verdict
from workers.smtp import Sessions

EMAIL: Final = "email"
"""What the channel is called among the destinations."""
_PERMANENT: Final = 500
_BOUNDARY: Final = "=_holdfast"
"""No part can hold it: in quoted-printable a "=" is followed by digits or the end of its line."""
_CRLF: Final = "\r\n"
_LINE_END: Final = re.compile(r"\r\n?|\n")


@cache
def domain_of(sender: str) -> str:
    """The domain of an address with or without a name, in ASCII."""
    return address_of(parseaddr(sender)[1]).rpartition("@")[2]


def message_of(event_id: str, sender: str, recipient: str, letter: Letter) -> bytes:
    """The e-mail of a letter. Its Message-ID is made of the event: a resend has the same.

    Written out by hand: the library's messages, which parse each header that they are given, cost
    several times what sending one does.

    Raises:
        ValueError, MessageError: an address or the subject cannot be written into a header.
    """
    domain = domain_of(sender)
    headers = (
        f"From: {_named(sender)}",
        f"To: {address_of(recipient)}",
        f"Subject: {_words(letter.subject, 'Subject')}",
        f"Date: {formatdate()}",
        f"Message-ID: <{event_id}.{EMAIL}@{domain}>",
        f"List-Id: <bookings.{domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"',
    )
    parts = [
        f"--{_BOUNDARY}\r\n"
        f'Content-Type: text/{kind}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n".encode()
        + _quoted(text)
        for kind, text in (("plain", letter.text), ("html", letter.html))
    ]
    head = "".join(f"{header}\r\n" for header in headers).encode()
    return b"".join((head, b"\r\n", *parts, f"--{_BOUNDARY}--\r\n".encode()))


def address_of(text: str) -> str:
    """An address as envelopes and headers have it: its domain in ASCII.

    Raises:
        ValueError: it is none.
    """
    user, _, host = text.rpartition("@")
    return Address(username=user, domain=host.encode("idna").decode()).addr_spec


@cache
def _named(sender: str) -> str:
    name, address = parseaddr(sender)
    if not name.isascii():
        return f"{_words(name, 'From')} <{address_of(address)}>"
    return str(Address(display_name=name, addr_spec=address_of(address)))


def _words(text: str, header: str) -> str:
    """What a header says, folded and in ASCII."""
    return Header(text, header_name=header).encode(linesep="\r\n")


def _quoted(text: str) -> bytes:
    """A part's lines as quoted-printable; the last line end belongs to the boundary after it."""
    return b2a_qp(f"{_LINE_END.sub(_CRLF, text)}{_CRLF}".encode(), istext=True)


class MailSender:
    """Sends notices over SMTP."""

    def __init__(self, sessions: Sessions, sender: str, people: People) -> None:
        self._sessions = sessions
        self._sender = sender
        self._from = address_of(parseaddr(sender)[1])
        self._people = people

    async def send(self, delivery: Delivery) -> Told:
        """Send a notice to whoever left an address."""
        try:
            addressed = await self._people.address(delivery)
            if addressed is None or not addressed.contact.email:
                return Told(Verdict.NOBODY)
            letter = self._people.templates.letter(addressed.notice, addressed.values)
            recipient = address_of(addressed.contact.email)
            message = message_of(delivery.event.event_id, self._sender, recipient, letter)
        except (Poison, ValueError, MessageError) as poison:
            return Told(Verdict.POISONED, detail=_safe(poison))
        try:
            answer = await self._sessions.send(self._from, recipient, message)
        except aiosmtplib.SMTPNotSupported:
            return Told(Verdict.REFUSED, detail="the server takes ASCII addresses only")
        except aiosmtplib.SMTPRecipientRefused as refused:
            return _refused(refused.code, "the recipient was refused")
        except aiosmtplib.SMTPDataError as refused:
            return _refused(refused.code, "the message was refused")
        except aiosmtplib.SMTPResponseException as error:
            return Told(Verdict.FAILED, error.code, f"{type(error).__name__}: {error.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Told(Verdict.FAILED, detail=type(error).__name__)
        return Told(Verdict.ARRIVED, 250, None, answer, addressed.written_ms)


def _refused(code: int, what: str) -> Told:
    """What a server said of one message: its text may hold the address, and is not kept.

    Nothing of the others: where recipients are made to wait at first (greylisting), every mail of
    a sale that has just begun is told so.
    """
    verdict = Verdict.REFUSED if code >= _PERMANENT else Verdict.DELAYED
    return Told(verdict, code, f"{what}: {code}")


def _safe(poison: Exception) -> str:
    """Why a notice cannot be said; of an address only that it was the matter."""
    return str(poison) if isinstance(poison, Poison) else f"the address: {type(poison).__name__}"

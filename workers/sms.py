"""Text messages: notices over an HTTP provider.

A provider is a class with `send`; `PROVIDERS` names it by the scheme of `HOLDFAST_SMS_URL`.
"""

from __future__ import annotations

import base64
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp

from engine.limits import MAX_EXCERPT_CHARS, MAX_SMS_CHARS
from persistence.deliveries import Delivery
from workers.people import People
from workers.sending import Poison, Told, Verdict

SMS: Final = "sms"
"""What the channel is called among the destinations."""


class Provider(Protocol):
    """Sends text messages."""

    async def send(self, session: aiohttp.ClientSession, to: str, text: str) -> Told:
        """Send one. Neither the number nor the text may be in what is told."""


class Twilio:
    """Twilio's Messages resource (https://www.twilio.com/docs/messaging/api/message-resource).

    `twilio://ACCOUNT_SID:AUTH_TOKEN@api.twilio.com?from=%2B15550001111`; `twilio+http://` for a
    stand-in without TLS. `from` is a number, or a messaging service's id (`MG…`).
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        sender = parse_qs(parts.query).get("from", [""])[0]
        if not (parts.username and parts.password and parts.hostname and sender):
            raise ValueError("must be twilio://ACCOUNT_SID:AUTH_TOKEN@host?from=NUMBER")
        account = unquote(parts.username)
        scheme = "http" if parts.scheme == "twilio+http" else "https"
        port = f":{parts.port}" if parts.port else ""
        token = base64.b64encode(f"{account}:{unquote(parts.password)}".encode()).decode()
        self._headers = {"authorization": f"Basic {token}"}
        self._url = f"{scheme}://{parts.hostname}{port}/2010-04-01/Accounts/{account}/Messages.json"
        self._from = {"MessagingServiceSid" if sender.startswith("MG") else "From": sender}

    async def send(self, session: aiohttp.ClientSession, to: str, text: str) -> Told:
        """Create a message. Twilio knows no idempotency key: a lost answer may send it twice."""
        try:
            async with session.post(
                self._url,
                data={"To": to, "Body": text, **self._from},
                headers=self._headers,
                allow_redirects=False,
            ) as answer:
                status = answer.status
                found = await answer.json(content_type=None) if status < 500 else {}
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Told(Verdict.FAILED, detail=type(error).__name__)
        fields = found if isinstance(found, dict) else {}
        if status in (200, 201):
            return Told(Verdict.ARRIVED, status, None, str(fields.get("sid", "")))
        # https://www.twilio.com/docs/api/errors; the message beside the code may hold the number.
        detail = f"answered {status}, code {fields.get('code')}"[:MAX_EXCERPT_CHARS]
        return Told(Verdict.REFUSED if status == 400 else Verdict.FAILED, status, detail)


PROVIDERS: Final = {"twilio": Twilio, "twilio+http": Twilio}


def provider_of(url: str) -> Provider:
    """The provider that a URL names. Raises `ValueError` where it names none."""
    scheme = urlsplit(url).scheme
    if scheme not in PROVIDERS:
        raise ValueError(f"must begin with one of {', '.join(f'{name}://' for name in PROVIDERS)}")
    return PROVIDERS[scheme](url)


class SmsSender:
    """Sends notices as text messages."""

    def __init__(self, session: aiohttp.ClientSession, provider: Provider, people: People) -> None:
        self._session = session
        self._provider = provider
        self._people = people

    async def send(self, delivery: Delivery) -> Told:
        """Send a notice to whoever left a number."""
        try:
            addressed = await self._people.address(delivery)
            if addressed is None or not addressed.contact.phone:
                return Told(Verdict.NOBODY)
            text = self._people.templates.short(addressed.notice, addressed.values)
        except Poison as poison:
            return Told(Verdict.POISONED, detail=str(poison))
        told = await self._provider.send(
            self._session, addressed.contact.phone, text[:MAX_SMS_CHARS]
        )
        if told.verdict is Verdict.ARRIVED:
            return Told(told.verdict, told.status, None, told.excerpt, addressed.written_ms)
        return told

"""SMTP sessions with a real server: kept for the next mail, replaced where they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiosmtplib
import pytest
import pytest_asyncio

from tests.helpers.smtp_server import MailServer
from tests.helpers.stage import eventually
from workers import smtp
from workers.mail import message_of
from workers.notices import Letter
from workers.smtp import Sessions, open_sessions, server_of

SENDER = "shop@shop.example"


@pytest_asyncio.fixture
async def sessions(mail: MailServer) -> AsyncIterator[Sessions]:
    async with open_sessions(server_of(mail.url)) as opened:
        yield opened


async def send(sessions: Sessions, number: int, to: str = "ann@example.com") -> str:
    letter = Letter(f"Mail {number}", ".\ntext", "<p>text</p>")
    return await sessions.send(SENDER, to, message_of(f"e{number}", SENDER, to, letter))


def taken(mail: MailServer) -> list[str]:
    return [one["subject"] for one in mail.messages()]


def used(mail: MailServer) -> list[int]:
    """In which session each came, counted from 0."""
    names = [one["session"] for one in mail.messages()]
    return [list(dict.fromkeys(names)).index(name) for name in names]


async def test_mails_one_after_the_other_share_a_session(
    sessions: Sessions, mail: MailServer
) -> None:
    for number in range(5):
        await send(sessions, number)
    assert taken(mail) == [f"Mail {number}" for number in range(5)]
    assert used(mail) == [0] * 5


async def test_mails_at_the_same_time_have_a_session_each_and_the_next_ones_too(
    sessions: Sessions, mail: MailServer
) -> None:
    for _ in range(3):
        await asyncio.gather(*(send(sessions, number) for number in range(4)))
    assert set(used(mail)) == {0, 1, 2, 3}
    assert len(mail.messages()) == 12


@pytest.mark.parametrize("how", ["421", "451", "cut"])
async def test_a_session_of_which_the_server_is_tired_is_replaced_and_no_mail_is_lost_or_doubled(
    sessions: Sessions, mail: MailServer, how: str
) -> None:
    mail.tire(2, how)
    for number in range(5):
        await send(sessions, number)
    assert taken(mail) == [f"Mail {number}" for number in range(5)]
    assert used(mail) == [0, 0, 1, 1, 2]
    assert [one for one in mail.noted() if "refused" in one] == [{"refused": "session"}] * 2


async def test_a_server_that_takes_nothing_in_a_new_session_either_is_not_asked_a_third_time(
    sessions: Sessions, mail: MailServer
) -> None:
    await send(sessions, 0)
    mail.tire(0, "451")
    with pytest.raises(aiosmtplib.SMTPSenderRefused):
        await send(sessions, 1)
    assert [one for one in mail.noted() if "refused" in one] == [{"refused": "session"}] * 2


async def test_a_refused_recipient_costs_no_session(sessions: Sessions, mail: MailServer) -> None:
    await send(sessions, 0)
    mail.refuse(1.0, seed=1)
    with pytest.raises(aiosmtplib.SMTPRecipientRefused):
        await send(sessions, 1)
    mail.fine()
    await send(sessions, 2)
    assert taken(mail) == ["Mail 0", "Mail 2"]
    assert used(mail) == [0, 0]


async def test_a_mail_whose_answer_is_lost_is_not_sent_again_by_the_session(
    sessions: Sessions, mail: MailServer
) -> None:
    await send(sessions, 0)
    # Takes the recipient, and then loses its answer.
    mail.refuse(0.5, seed=10)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(sessions, 1)
    mail.fine()
    await send(sessions, 2)
    assert taken(mail) == ["Mail 0", "Mail 1", "Mail 2"]
    assert used(mail) == [0, 0, 1]


async def test_a_session_is_left_after_so_many_mails_and_when_it_is_idle(
    sessions: Sessions, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "MAX_MAILS_PER_SESSION", 2)
    for number in range(3):
        await send(sessions, number)
    assert used(mail) == [0, 0, 1]
    monkeypatch.setattr(smtp, "SMTP_IDLE_MS", 10)
    monkeypatch.setattr(smtp, "MAX_MAILS_PER_SESSION", 100)
    await send(sessions, 3)

    async def is_left() -> bool:
        return not sessions._kept

    await eventually(is_left, "the session to be left")
    await send(sessions, 4)
    assert used(mail) == [0, 0, 1, 1, 2]


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(
    sessions: Sessions, mail: MailServer
) -> None:
    await send(sessions, 0, "käse@example.com")
    assert mail.messages()[0]["to"] == ["käse@example.com"]

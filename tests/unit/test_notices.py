"""What customers are told: which event is which notice, templates, and how e-mail is made."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from engine.events import events_of
from engine.settings import Settings
from engine.types import Booking, unpack_lines
from persistence.deliveries import SaleNames
from tests.unit.payment_journals import JOURNALS, journal
from tests.unit.test_openapi import settings
from workers.mail import message_of
from workers.notices import TYPES, Letter, Notice, Templates, moment, money, notice_of, values_of
from workers.sending import Poison
from workers.smtp import Server, server_of

NAMES = SaleNames("Rock & <b>Roll</b>", {"P": "Parterre"})
TOLD = {
    "asked": ["payment_failed"],
    "used": ["confirmed", "refunded"],
    "given_back": ["confirmed", "cancelled"],
    "cancelled": ["confirmed", "cancelled"],
    "voided": ["cancelled", "voided"],
    "captured_too_late": ["cancelled"],
    "refused": ["cancelled"],
    "warned": ["expiring"],
    "late_and_taken": ["expired"],
    "late_and_sold_out": ["expired"],
    "late_after_a_cancel": ["cancelled"],
}


def paid() -> Booking:
    booking = journal("used")[-1].booking
    assert booking
    return booking


@pytest.mark.parametrize("name", sorted(JOURNALS))
def test_a_customer_is_told_what_concerns_them_and_nothing_else(name: str) -> None:
    told = [
        notice_of(kind, entry.booking)
        for entry in journal(name)
        for kind in events_of(entry)
        if entry.booking and kind in TYPES
    ]
    assert [notice for notice in told if notice] == TOLD[name]


@pytest.mark.parametrize("notice", list(Notice))
def test_every_notice_can_be_said_and_html_is_escaped(notice: Notice) -> None:
    templates = Templates(None)
    templates.check()
    values = values_of(paid(), NAMES)
    letter = templates.letter(notice, values)
    assert "Rock & <b>Roll</b>" in letter.subject
    assert "Rock & <b>Roll</b>" in letter.text
    assert "Rock &amp; &lt;b&gt;Roll&lt;/b&gt;" in letter.html
    assert "<b>" not in letter.html
    assert "Parterre" in letter.text
    assert paid().booking_id in letter.text
    short = templates.short(notice, values)
    assert "Rock & <b>Roll</b>" in short
    assert "\n" not in short


def test_a_payment_that_failed_says_until_when_to_pay_again() -> None:
    booking = paid()._replace(hold_expires_ms=1_800_000_000_000)
    letter = Templates(None).letter(Notice.PAYMENT_FAILED, values_of(booking, NAMES))
    assert "15 January 2027, 08:00 UTC" in letter.text
    assert "15 January 2027, 08:00 UTC" in letter.html
    assert "pay again" in letter.text


def test_templates_of_a_directory_come_first(tmp_path: Path) -> None:
    (tmp_path / "confirmed.txt").write_text("Hooray\n{{ total }} for {{ sale_name }}\n")
    templates = Templates(tmp_path)
    letter = templates.letter(Notice.CONFIRMED, values_of(paid(), NAMES))
    assert (letter.subject, letter.text) == ("Hooray", "10.00 USD for Rock & <b>Roll</b>\n")
    assert "confirmed" in letter.html, "the built-in one"


def test_a_template_that_misspells_a_name_or_itself_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "confirmed.txt").write_text("Hooray\n{{ totel }}\n")
    with pytest.raises(Poison, match=r"confirmed\.txt: UndefinedError"):
        Templates(tmp_path).letter(Notice.CONFIRMED, values_of(paid(), NAMES))
    (tmp_path / "expired.sms").write_text("{% if %}")
    with pytest.raises(Poison, match=r"expired\.sms: TemplateSyntaxError"):
        Templates(tmp_path).check()
    with pytest.raises(Poison, match="nowhere is no directory"):
        Templates(tmp_path / "nowhere").check()


def test_money_and_times_are_written_for_people() -> None:
    assert [money(5, "USD"), money(1_234, "EUR"), money(500, "JPY"), money(1_234, "KWD")] == [
        "0.05 USD",
        "12.34 EUR",
        "500 JPY",
        "1.234 KWD",
    ]
    assert moment(1_800_000_000_000) == "15 January 2027, 08:00 UTC"


def test_an_item_without_a_name_is_called_by_its_id() -> None:
    booking = paid()._replace(lines=unpack_lines("X:2:500"))
    assert values_of(booking, SaleNames("", {}))["lines"] == [
        {"name": "X", "quantity": 2, "amount": "10.00 USD"}
    ]
    assert values_of(booking, SaleNames("", {}))["sale_name"] == booking.sale_id


LETTER = Letter("Hello", "text\n", "<p>html</p>\n")


def made(
    to: str = "ann@example.com",
    sender: str = "Shop <shop@shop.example>",
    letter: Letter = LETTER,
) -> EmailMessage:
    written = message_of("000-1-2-1", sender, to, letter)
    assert max(map(len, written.split(b"\r\n"))) <= 78
    read = message_from_bytes(written, policy=policy.default)
    assert not read.defects
    return read


def contents(message: EmailMessage) -> list[str]:
    parts = list(message.iter_parts())
    assert all(isinstance(part, EmailMessage) for part in parts)
    return [part.get_content().replace("\r\n", "\n") for part in parts]


def test_an_email_can_be_told_from_its_resend_and_filtered() -> None:
    message = made()
    assert message["Message-ID"] == made()["Message-ID"] == "<000-1-2-1.email@shop.example>"
    assert message["List-Id"] == "<bookings.shop.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert (message["From"], message["To"]) == ("Shop <shop@shop.example>", "ann@example.com")
    assert message["Subject"] == "Hello"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "text",
    [
        "Käse\n.\n..\nFrom here\n  \n\ttab\t\n",
        "=_holdfast\n--=_holdfast--\n=41\n",
        "x" * 3_000 + " \n",
        "漢字" * 500 + "\n",
        "\n\n",
    ],
)
def test_an_email_says_what_its_letter_says(text: str) -> None:
    message = made(letter=Letter("Größe 漢字 " * 12, text, f"<p>{text}</p>\n"))
    assert message["Subject"].strip() == ("Größe 漢字 " * 12).strip()
    assert contents(message) == [text, f"<p>{text}</p>\n"]


def test_lines_that_end_otherwise_end_as_in_every_email() -> None:
    message = made(letter=Letter("Hello", "one\r\ntwo\rthree", ""))
    assert contents(message) == ["one\ntwo\nthree", ""]


def test_names_and_domains_that_are_not_ascii_are_written_so_that_every_server_takes_them() -> None:
    message = made("ann@münchen.example", '"Käse, Brot" <shop@käse.example>')
    assert message["To"].addresses[0].addr_spec == "ann@xn--mnchen-3ya.example"
    assert message["From"].addresses[0].display_name == "Käse, Brot"
    assert message["Message-ID"].endswith("@xn--kse-qla.example>")


@pytest.mark.parametrize("to", ["ann@example.com\r\nBcc: eve@example.com", "a\nb@example.com"])
def test_an_address_cannot_smuggle_a_header_in(to: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        made(to)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", Server("mail", 587, None, None, use_tls=False, start_tls=None)),
        ("smtp://u:p@mail", Server("mail", 587, "u", "p", use_tls=False, start_tls=True)),
        ("smtps://u:p%40@mail", Server("mail", 465, "u", "p@", use_tls=True, start_tls=False)),
        ("smtp+starttls://mail:25", Server("mail", 25, None, None, use_tls=False, start_tls=True)),
    ],
)
def test_a_server_is_named_by_its_url(url: str, server: Server) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize("url", ["http://mail", "smtp://", "mail:25", ""])
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"smtp|host"):
        server_of(url)


def test_whom_mail_is_from_is_an_address() -> None:
    assert settings(mail_from="Shop <shop@shop.example>").mail_from == "Shop <shop@shop.example>"
    for bad in ("shop", "a@b@c", "Shop <shop@shop.example>\nBcc: eve@example.com"):
        with pytest.raises(ValueError, match="must be an e-mail address"):
            settings(mail_from=bad)
    assert isinstance(settings(), Settings)

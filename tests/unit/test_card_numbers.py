"""What counts as a card number, and what does not. The numbers are the networks' test numbers."""

from __future__ import annotations

import random
import uuid

import pytest

from api.card_numbers import (
    holds_card_number,
    is_card_number,
    paths_of_card_numbers,
    without_card_numbers,
)

CARDS = {
    "visa": "4242424242424242",
    "visa of 13": "4222222222222",
    "visa of 19": "4000000000000000063",
    "mastercard": "5555555555554444",
    "mastercard, 2 series": "2223003122003222",
    "american express": "378282246310005",
    "diners": "30569309025904",
    "diners, 36": "36227206271667",
    "discover": "6011111111111117",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
    "maestro": "6759649826438453",
}

HARMLESS = (
    "4242424242424241",  # Luhn fails
    "0000000000000000",  # no network's prefix
    "1234567812345670",
    "42424242424242424242424242",  # longer than any card
    "424242424242",  # shorter than any
    "1763800000000",  # milliseconds of an epoch
    "2026-11-22T10:00:00.000Z to 2026-11-23T10:00:00.000Z",
    "Row 12, seats 4 to 17, 2026-11-22 20:00",
    "",
)


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS.keys())
def test_a_networks_number_is_found_however_it_is_grouped(number: str) -> None:
    assert is_card_number(number)
    grouped = [number[at : at + 4] for at in range(0, len(number), 4)]
    for text in (
        number,
        " ".join(grouped),
        "-".join(grouped),
        ".".join(grouped),
        "\u00a0".join(grouped),
        f"card {number}, please",
        f"pm_{number}",
        f"{number}@mail.example",
        f"order 12345 {' '.join(grouped)}",
        f"{' '.join(grouped)} 12",
        "".join(chr(ord(digit) - 48 + 0xFF10) for digit in number),
    ):
        assert holds_card_number(text), text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_runs_of_digits_are_let_through(text: str) -> None:
    assert not holds_card_number(text)


def test_no_uuid_is_taken_for_a_card_number() -> None:
    seed = 20261122
    rng = random.Random(seed)
    for _ in range(20_000):
        text = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        assert not holds_card_number(f"order {text}"), f"{text}, seed {seed}"


def test_a_card_number_is_found_by_its_path_and_known_fields_are_exempt() -> None:
    card = CARDS["visa"]
    value = {
        "name": card,
        "sale_id": card,
        "customer_id": card,
        "opens_at": "2026-11-22T10:00:00.000Z",
        "items": [{"id": card, "name": "fine"}, {"id": "a", "name": f"no {card}"}],
        "contact": {"phone": "+4242 4242 4242 424", "email": f"{card}@mail.example"},
        "number": int(card),
        "rounded": [float(card)],
        "unit_price": int(card),
        "harmless": [
            1_763_800_000_000,
            -int(card),
            4_242_424_242_424_241,
            True,
            None,
            1e300,
            10**400,
        ],
    }
    found = ["name", "items.1.name", "contact.email", "number", "rounded.0"]
    assert paths_of_card_numbers(value) == found


def test_a_field_is_exempt_only_while_it_is_what_it_should_be() -> None:
    card = CARDS["american express"]
    value = {"sale_id": f"{card}!", "phone": card, "opens_at": card, "currency": card}
    assert paths_of_card_numbers(value) == ["sale_id", "phone", "opens_at", "currency"]


def test_a_name_that_is_a_card_number_is_found_and_not_repeated() -> None:
    card = CARDS["mastercard"]
    assert paths_of_card_numbers({card: {"x": card}}) == ["?", "?.x"]


def test_card_numbers_are_taken_out_of_a_text() -> None:
    text = f"ValueError: '{CARDS['visa']}' at line 12, 1234567812345670"
    assert without_card_numbers(text) == "ValueError: '[card number]' at line 12, 1234567812345670"

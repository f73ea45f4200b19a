"""The socket that the API listens on."""

from __future__ import annotations

import socket

import pytest

from engine.errors import SettingsError
from holdfast import door


def test_who_names_no_port_gets_a_free_one_where_the_default_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        monkeypatch.setattr(door, "DEFAULT_PORT", taken)
        with door.listen("127.0.0.1", None) as listener:
            assert listener.getsockname()[1] not in {0, taken}


def test_a_port_that_was_named_and_is_taken_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port {taken}"):
            door.listen("127.0.0.1", taken)


def test_the_default_port_is_taken_where_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
    monkeypatch.setattr(door, "DEFAULT_PORT", free)
    with door.listen("127.0.0.1", None) as listener:
        assert listener.getsockname()[1] == free

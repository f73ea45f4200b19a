"""A script's header is compared with its text, and a wrong one is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import engine.scripts
from engine.errors import ScriptError
from engine.scripts import load_script, script_names

GOOD = """\
#!lua flags=allow-oom
-- Does something,
-- in two lines.
-- keys:     meta
-- derives:  journal booking
-- args:     generation seen
--           booking_id
-- outcomes: fenced done
-- entries:  held
-- @include keys
local function append(partition, entry)
  redis.call('XADD', key_journal(), '1-0', 'entry', entry)
end
if redis.call('EXISTS', key_booking(ARGV[3])) == 1 then
  return {'fenced', -1, ''}
end
append(partition, 'held')
return {'done', 1, ''}
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of scripts of our own."""
    monkeypatch.setattr(engine.scripts, "_directory", lambda: tmp_path)
    return tmp_path


def load(folder: Path, text: str) -> engine.scripts.Script:
    (folder / "it.lua").write_text(text)
    return load_script.__wrapped__("it")


def test_a_right_header_is_read(folder: Path) -> None:
    script = load(folder, GOOD)
    assert script.summary == "Does something, in two lines."
    assert (script.keys, script.derives) == (("meta",), ("journal", "booking"))
    assert script.args == ("generation", "seen", "booking_id")
    assert script.outcomes == {"fenced", "done"}
    assert script.entries == ("held",)
    assert script.flags == {"allow-oom"}
    assert b"local function key_booking(booking_id)" in script.text
    assert script.sha1 == hashlib.sha1(script.text).hexdigest().encode()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- outcomes: fenced done\n", "", "the header must name"),
        (
            "-- keys:     meta\n-- derives:  journal booking",
            "-- derives:  journal booking\n-- keys:     meta",
            "the header must name",
        ),
        ("--           booking_id", "-- booking_id", "not understood"),
        ("derives:  journal booking", "derives:  journal", "disagree on .*booking"),
        ("derives:  journal booking", "derives:  journal booking due", "disagree on .*due"),
        ("keys:     meta", "keys:     meta sale", "meta key alone"),
        ("outcomes: fenced done", "outcomes: fenced done held_up", "never answers"),
        ("outcomes: fenced done", "outcomes: fenced", "unnamed in its header"),
        ("append(partition, 'held')", "append(partition, 'extended')", "never appends"),
        ("append(partition, 'held')\n", "", "`entries` and what it appends disagree"),
        ("entries:  held", "entries:  none", "`entries` and what it appends disagree"),
        ("ARGV[3]", "ARGV[4]", r"reads ARGV\[4\]"),
        ("'done'", "'sold'", "never answers"),
    ],
)
def test_a_wrong_header_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ScriptError, match=message):
        load(folder, GOOD.replace(old, new))


def test_a_word_that_is_no_outcome_is_refused(folder: Path) -> None:
    text = GOOD.replace("outcomes: fenced done", "outcomes: fenced finished")
    with pytest.raises(ScriptError, match="no such outcomes"):
        load(folder, text.replace("'done'", "'finished'"))


def test_a_key_that_no_family_has_is_refused(folder: Path) -> None:
    text = GOOD.replace("derives:  journal booking", "derives:  journal bookings")
    with pytest.raises((ScriptError, KeyError)):
        load(folder, text.replace("key_booking(", "key_bookings("))


REBUILD = {
    *("begin_rebuild", "reset_partition", "forget_keys", "restore_sale", "restore_customers"),
    *("restore_bookings", "restore_tombstones", "restore_records", "finish_rebuild"),
    "finish_sale",
}


@pytest.mark.parametrize("name", script_names())
def test_every_script_has_a_right_header(name: str) -> None:
    script = load_script(name)
    assert script.text.startswith(b"#!lua")
    assert script.summary.endswith(".")
    assert len(script.text.split(b"\n", 1)[0]) < 60
    assert b"@include" not in script.text
    assert script.flags <= {"allow-oom", "no-writes"}
    if name != "beat":
        # A rebuild's own scripts carry its token: it has seen nothing that could be lost.
        assert script.args[:2] == ("generation", "token" if name in REBUILD else "seen")
        assert "fenced" in script.outcomes
    assert not ("no-writes" in script.flags and script.entries)

"""The operator's commands: the grammar of what works on a system that runs somewhere.

Each takes `--data DIR` and finds there, by `run.json`, the system that `up` started.
"""

from __future__ import annotations

from typing import Final

from holdfast import commands_operator as commands
from holdfast.cli_arguments import (
    Menu,
    add,
    add_data,
    add_json,
    add_partition,
    between,
    moment_ms,
    position,
    subject,
)

MAX_DAYS: Final = 36_500
MAX_TOKENS: Final = 1_000_000
MAX_TOKEN_TTL_S: Final = 366 * 24 * 3600


def add_commands(menu: Menu) -> None:
    """Put the operator's commands on the menu."""
    migrate = add(menu, "migrate", commands.run_migrate, "bring the database to the newest version")
    add_data(migrate)

    token = add(menu, "token", commands.run_token, "development tokens")
    add_data(token)
    token.add_argument("--sub", required=True, type=subject, metavar="ID", help="the customer")
    token.add_argument("--scope", default="bookings", help='like "bookings admin"')
    token.add_argument("--count", type=between(1, MAX_TOKENS), metavar="N", help="ID-1 … ID-N")
    token.add_argument("--ttl", type=between(1, MAX_TOKEN_TTL_S), metavar="SECONDS")

    _add_backlog(menu)

    rebuild = add(
        menu, "rebuild", commands.run_rebuild, "write Redis anew from PostgreSQL, where it needs it"
    )
    add_data(rebuild)
    what = rebuild.add_mutually_exclusive_group()
    add_partition(what)
    what.add_argument("--sale", type=subject, metavar="S", help="this sale alone; the others go on")
    rebuild.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    add_json(rebuild)

    verify = add(menu, "verify", commands.run_verify, "compare Redis, the journal and PostgreSQL")
    add_data(verify)
    add_json(verify)


def _add_backlog(menu: Menu) -> None:
    backlog = menu.add_parser("backlog", help="the journal's way to PostgreSQL")
    backlog_menu = backlog.add_subparsers(required=True, metavar="COMMAND")
    status = add(
        backlog_menu, "status", commands.run_backlog_status, "how far PostgreSQL is behind Redis"
    )
    add_data(status)
    add_json(status)

    replay = add(
        backlog_menu,
        "replay",
        commands.run_backlog_replay,
        "apply to PostgreSQL what it lacks of the journal, and compare what it has",
    )
    add_data(replay)
    add_partition(replay)
    replay.add_argument(
        "--from", dest="start", type=position, metavar="POSITION", help="P:SEQUENCE, or SEQUENCE"
    )
    replay.add_argument("--dry-run", action="store_true", help="only say what would be applied")
    add_json(replay)

    prune = add(
        backlog_menu,
        "prune",
        commands.run_backlog_prune,
        "drop old entries from PostgreSQL's journal; run verify before",
    )
    add_data(prune)
    add_partition(prune)
    age = prune.add_mutually_exclusive_group(required=True)
    age.add_argument("--before", type=moment_ms, metavar="TIME", help="RFC 3339")
    age.add_argument("--older-than", type=between(0, MAX_DAYS), metavar="DAYS")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be dropped")
    add_json(prune)

    quarantine = backlog_menu.add_parser("quarantine", help="entries that could not be applied")
    quarantine_menu = quarantine.add_subparsers(required=True, metavar="COMMAND")
    listed = add(quarantine_menu, "list", commands.run_quarantine_list, "which they are, and why")
    add_data(listed)
    add_partition(listed)
    add_json(listed)
    for name, run, what in (
        ("show", commands.run_quarantine_show, "one of them as it is"),
        (
            "retry",
            commands.run_quarantine_retry,
            "apply one, and those of its booking that wait behind it",
        ),
        ("discard", commands.run_quarantine_discard, "give one up: it stays, as discarded"),
    ):
        command = add(quarantine_menu, name, run, what)
        command.add_argument(
            "position", type=position, metavar="POSITION", help="P:SEQUENCE, or SEQUENCE"
        )
        add_data(command)
        add_partition(command)
        add_json(command)
        if name == "discard":
            command.add_argument("--because", required=True, metavar="TEXT", help="why; it is kept")
            command.add_argument("--by", metavar="NAME", help="who (default: who is logged in)")

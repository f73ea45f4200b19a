"""The operator's commands: the grammar of what works on a system that runs somewhere.

Each takes `--data DIR` and finds there, by `run.json`, the system that `up` started.
"""

from __future__ import annotations

from typing import Final

from holdfast import commands_operator as commands
from holdfast.cli_arguments import Menu, add, add_data, add_json, between, subject

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

    backlog = menu.add_parser("backlog", help="the journal's way to PostgreSQL")
    backlog_menu = backlog.add_subparsers(required=True, metavar="COMMAND")
    status = add(
        backlog_menu, "status", commands.run_backlog_status, "how far PostgreSQL is behind Redis"
    )
    add_data(status)
    add_json(status)

    verify = add(menu, "verify", commands.run_verify, "compare Redis, the journal and PostgreSQL")
    add_data(verify)
    add_json(verify)

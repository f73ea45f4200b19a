"""What each of the operator's commands runs, on the system that its options name.

Each imports what it needs when it is called, so that `holdfast token` does not wait for asyncpg.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import re
import sys

from engine.errors import SettingsError
from engine.limits import ID_PATTERN
from engine.payments.limits import PAYMENT_GRACE_MS
from engine.payments.settings import PaymentSettings
from engine.settings import Settings
from holdfast import logs
from holdfast.system import DataDirectory, operator_payment_settings, operator_settings


def run_migrate(options: argparse.Namespace) -> int:
    """`holdfast migrate`."""
    from holdfast import first_start  # noqa: PLC0415

    applied = asyncio.run(first_start.prepare(_operator_settings(options)))
    print("\n".join(applied) or "nothing to apply")
    return 0


def run_token(options: argparse.Namespace) -> int:
    """`holdfast token`."""
    from holdfast import dev_auth  # noqa: PLC0415
    from holdfast.settings import given_settings  # noqa: PLC0415

    longest = f"{options.sub}-{options.count}" if options.count else options.sub
    if not re.fullmatch(ID_PATTERN.removesuffix("$"), longest):
        raise SettingsError(f"--sub: {longest!r} would be no id ({ID_PATTERN})")
    variables = {**DataDirectory(options.data).read_settings(), **given_settings()}
    trusted = variables.get("HOLDFAST_JWKS_URL")
    if trusted not in {None, (options.data / dev_auth.JWKS_FILE).absolute().as_uri()}:
        raise SettingsError(f"HOLDFAST_JWKS_URL: {trusted} is trusted, not the development key")
    key = dev_auth.read_key(
        options.data,
        variables.get("HOLDFAST_JWT_ISSUER", dev_auth.ISSUER),
        variables.get("HOLDFAST_JWT_AUDIENCE", dev_auth.AUDIENCE),
    )
    subjects = (
        (f"{options.sub}-{number}" for number in range(1, options.count + 1))
        if options.count
        else iter((options.sub,))
    )
    for token in key.tokens(subjects, options.scope, options.ttl or dev_auth.TOKEN_TTL_S):
        print(token)
    return 0


def run_backlog_status(options: argparse.Namespace) -> int:
    """`holdfast backlog status`."""
    from workers import backlog  # noqa: PLC0415

    return asyncio.run(backlog.status(_operator_settings(options), as_json=options.json))


def run_backlog_replay(options: argparse.Namespace) -> int:
    """`holdfast backlog replay`."""
    from workers import backlog_replay  # noqa: PLC0415

    partition, sequence = options.partition, None
    if options.start:
        partition, sequence = options.start.within(options.partition)
    return asyncio.run(
        backlog_replay.replay(
            _operator_settings(options),
            partition,
            sequence,
            dry_run=options.dry_run,
            as_json=options.json,
        )
    )


def run_backlog_prune(options: argparse.Namespace) -> int:
    """`holdfast backlog prune`."""
    from workers import prune  # noqa: PLC0415

    return asyncio.run(
        prune.prune(
            _operator_settings(options),
            before_ms=options.before,
            older_than_days=options.older_than,
            partition=options.partition,
            dry_run=options.dry_run,
            as_json=options.json,
        )
    )


def run_quarantine_list(options: argparse.Namespace) -> int:
    """`holdfast backlog quarantine list`."""
    from workers import quarantine  # noqa: PLC0415

    settings = _operator_settings(options)
    return asyncio.run(quarantine.show_list(settings, options.partition, as_json=options.json))


def run_quarantine_show(options: argparse.Namespace) -> int:
    """`holdfast backlog quarantine show`."""
    from workers import quarantine  # noqa: PLC0415

    place = options.position.within(options.partition)
    return asyncio.run(quarantine.show(_operator_settings(options), *place, as_json=options.json))


def run_quarantine_retry(options: argparse.Namespace) -> int:
    """`holdfast backlog quarantine retry`."""
    from workers import quarantine  # noqa: PLC0415

    place = options.position.within(options.partition)
    return asyncio.run(quarantine.retry(_operator_settings(options), *place, as_json=options.json))


def run_quarantine_discard(options: argparse.Namespace) -> int:
    """`holdfast backlog quarantine discard`."""
    from workers import quarantine  # noqa: PLC0415

    partition, sequence = options.position.within(options.partition)
    by = options.by or getpass.getuser()
    settings, because = _operator_settings(options), options.because
    return asyncio.run(
        quarantine.discard(settings, partition, sequence, by, because, as_json=options.json)
    )


def run_rebuild(options: argparse.Namespace) -> int:
    """`holdfast rebuild`."""
    from workers import rebuild  # noqa: PLC0415

    settings, payments = _operator_settings(options), _gateway_settings(options)
    return asyncio.run(
        rebuild.rebuild(
            settings,
            grace_ms=payments.payment_grace_ms if payments else PAYMENT_GRACE_MS,
            partition=options.partition,
            sale_id=options.sale,
            dry_run=options.dry_run,
            as_json=options.json,
        )
    )


def run_verify(options: argparse.Namespace) -> int:
    """`holdfast verify`."""
    from workers import verify  # noqa: PLC0415

    settings, payments = _operator_settings(options), _gateway_settings(options)
    return asyncio.run(verify.verify(settings, payments, as_json=options.json))


def _gateway_settings(options: argparse.Namespace) -> PaymentSettings | None:
    """How to reach the gateway of the system that the command is about; None where it has none."""
    from holdfast.settings import given_settings  # noqa: PLC0415

    known = {**DataDirectory(options.data).read_settings(), **given_settings()}
    if "HOLDFAST_STRIPE_API_KEY" not in known:
        return None
    return operator_payment_settings(options.data)


def _operator_settings(options: argparse.Namespace) -> Settings:
    """The settings of the system that the command is about."""
    settings = operator_settings(options.data)
    logs.configure("warning", "console" if sys.stderr.isatty() else settings.log_format)
    return settings

"""The conventional service: what a good team would build first, on PostgreSQL alone.

Starlette, asyncpg, prepared statements, a pool, a row for each item and one for each reservation,
`synchronous_commit` on. It has no authentication, no idempotency, no rate limit, no caps and no
expiry, which all would slow it down: it is here to be compared with, in its favour.
"""

"""PostgreSQL: migrations, the drain that fills it from the journal, and what is read from it."""

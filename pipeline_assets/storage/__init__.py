"""The databases and the media store: the only code that knows SQL or where bytes lie.

The same code serves SQLite (the embedded default) and PostgreSQL (production). Nothing here knows
Dagster or decides what a stored fact means.
"""

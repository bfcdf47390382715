"""Clients of outside systems: each fetches, checks and parses; none stores, none knows Dagster.

A client raises only the classes of `errors.py`, waits only through the `sleep` it was given and
never lets a secret out.
"""

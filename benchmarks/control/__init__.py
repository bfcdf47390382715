"""Requests, status and recovery: what they cost, and what stock Dagster does instead."""

"""Pure judgement of how fresh data is: statuses and windows in, states and reasons out."""

FRESH_CHECK = "fresh"
"""What the judgement is called where others show it: the name of the asset check in Dagster."""

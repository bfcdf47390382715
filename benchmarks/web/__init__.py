"""Pages, API and what keeps them up to date: how fast, and beside Dagster's own webserver."""

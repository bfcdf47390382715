"""Pure judgement of how fresh data is: statuses and windows in, states and reasons out."""

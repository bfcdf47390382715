"""What happens when: the projection of Dagster's log, heartbeats and the operations people call."""

"""Everything that makes Dagster start something by itself: jobs, sensors, the run queue."""

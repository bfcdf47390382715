"""A whole run of meta_sync beside a trivial five-asset run of the same Dagster."""

"""A control plane on Dagster for ad data: per brand and dataset, is it fresh enough to use."""

__version__ = "0.1.0"

"""Dagster's brand partitions follow the registry: this says how, the edges say when."""

from collections.abc import Collection
from dataclasses import dataclass

import dagster as dg

BRAND_PARTITIONS = "brand"
"""Name of Dagster's dynamic partitions; its keys are the brands' slugs."""


@dataclass(frozen=True)
class PartitionChanges:
    """Keys to add and to delete so that Dagster knows just the registry's brands, sorted."""

    add: tuple[str, ...]
    delete: tuple[str, ...]


def partition_changes(instance: dg.DagsterInstance, brand_ids: Collection[str]) -> PartitionChanges:
    """Compare Dagster's keys with the registry's brands."""
    known = set(instance.get_dynamic_partitions(BRAND_PARTITIONS))
    wanted = set(brand_ids)
    return PartitionChanges(add=tuple(sorted(wanted - known)), delete=tuple(sorted(known - wanted)))


def sync_partitions(instance: dg.DagsterInstance, brand_ids: Collection[str]) -> PartitionChanges:
    """Make Dagster's keys equal to the registry's brands, at once."""
    changes = partition_changes(instance, brand_ids)
    if changes.add:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, list(changes.add))
    for key in changes.delete:
        instance.delete_dynamic_partition(BRAND_PARTITIONS, key)
    return changes

"""The spool: gives back what it took, leaves nothing behind, says when the disk is full."""

import resource
import tempfile
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline_assets.errors import StorageFullError
from pipeline_assets.schemas import META_ADS_PERFORMANCE
from pipeline_assets.storage.spool import RowSpool

MakeRow = Callable[..., tuple[Any, ...]]


def test_chunks_come_back_in_order_as_often_as_wanted(performance_row: MakeRow) -> None:
    first = [performance_row(ad_id="1"), performance_row(ad_id="2", spend=Decimal("0.10"))]
    second = [performance_row(ad_id="3", ad_name="„Größe“ 👟" * 2_000)]
    with RowSpool(META_ADS_PERFORMANCE) as spool:
        spool.append(first)
        spool.append([])
        assert len(list(spool)) == 1
        spool.append(second)
        assert spool.row_count == 3
        for _ in range(2):
            chunks = list(spool)
            assert [len(chunk) for chunk in chunks] == [2, 1]
            names = META_ADS_PERFORMANCE.column_names
            for stored, row in zip(chain(*chunks), first + second, strict=True):
                actions = orjson.loads(stored[names.index("actions")])
                expected = dict(zip(names, row, strict=True))
                assert dict(zip(names, stored, strict=True)) | {"actions": actions} == expected


def test_the_file_has_no_name_that_a_killed_process_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, performance_row: MakeRow
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RowSpool(META_ADS_PERFORMANCE) as spool:
        spool.append([performance_row()])
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(performance_row: MakeRow) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RowSpool(META_ADS_PERFORMANCE) as spool:
        spool.append([performance_row()])
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(StorageFullError, match="no room left in") as caught:
                spool.append([performance_row(ad_name="x" * 100_000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "Free some space" in caught.value.advice
        assert spool.row_count == 1


def test_rows_of_the_wrong_width_are_a_bug(performance_row: MakeRow) -> None:
    with (
        RowSpool(META_ADS_PERFORMANCE) as spool,
        pytest.raises(ValueError, match="31 values instead of 32"),
    ):
        spool.append([performance_row()[:-1]])

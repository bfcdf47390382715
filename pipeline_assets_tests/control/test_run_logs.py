"""The log of a run as people read it, from Dagster's real log."""

from collections.abc import Iterator

import dagster as dg
import pytest

from pipeline_assets.control.run_logs import read_log, read_log_text

TOKEN = "EAA" + "b4Z" * 20


@dg.op
def tell(context: dg.OpExecutionContext) -> None:
    """Writes what it should not."""
    for number in range(40):
        context.log.info("line %d", number)
    context.log.info("https://graph.example/me?access_token=%s", TOKEN)
    raise RuntimeError(f"Refused: Bearer {TOKEN}")


@dg.job(executor_def=dg.in_process_executor)
def telling() -> None:
    """A job that tells too much."""
    tell()


@pytest.fixture
def instance(dagster_home: str) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=dagster_home) as instance:
        yield instance


@pytest.fixture
def run_id(instance: dg.DagsterInstance) -> str:
    return telling.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_no_line_and_no_error_shows_a_secret(instance: dg.DagsterInstance, run_id: str) -> None:
    page = read_log(instance, run_id)
    assert page is not None
    texts = [entry.text for entry in page.entries]
    assert "https://graph.example/me?access_token=[redacted]" in texts
    [failure] = [entry for entry in page.entries if entry.kind == "STEP_FAILURE"]
    assert "RuntimeError: Refused: Bearer [redacted]" in failure.error
    assert TOKEN not in repr(page)
    assert TOKEN not in "".join(read_log_text(instance, [run_id]))


def test_the_text_has_every_line_once_in_order_whatever_the_pages(
    instance: dg.DagsterInstance, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "".join(read_log_text(instance, [run_id]))
    numbers = [line.rpartition(" ")[2] for line in whole.splitlines() if "[tell] line" in line]
    assert numbers == [str(number) for number in range(40)]
    assert whole.startswith(f"Run {run_id}\n")
    monkeypatch.setattr("pipeline_assets.control.run_logs.PAGE_LINES", 7)
    in_pages = list(read_log_text(instance, [run_id]))
    assert len(in_pages) > 6
    assert "".join(in_pages) == whole


def test_a_run_that_dagster_has_deleted_is_said_to_be(
    instance: dg.DagsterInstance, run_id: str
) -> None:
    instance.delete_run(run_id)
    assert read_log(instance, run_id) is None
    assert "".join(read_log_text(instance, [run_id])) == (
        f"Run {run_id}\nDagster has deleted the run, and its log with it.\n"
    )

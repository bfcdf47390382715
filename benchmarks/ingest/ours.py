"""The real way of our rows: report runs, parsing, spool, one transaction into SQLite."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.ingest.fields import ACCOUNT, FIELDS, window_of
from pipeline_assets.clock import utcnow
from pipeline_assets.schemas import META_ADS_PERFORMANCE
from pipeline_assets.sources import meta
from pipeline_assets.storage.engine import build_engine
from pipeline_assets.storage.migrations import upgrade
from pipeline_assets.storage.rate_budgets import RateBudgetTable
from pipeline_assets.storage.windows import RowSpool, Scope, count_rows, replace_rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graph_url")
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--fields", choices=["rival", "product"], default="rival")
    arguments = parser.parse_args()
    now = utcnow()
    since, until = window_of(arguments.days)
    with tempfile.TemporaryDirectory() as folder:
        engine = build_engine(f"sqlite:///{Path(folder) / 'bench.db'}")
        upgrade(engine)
        client = meta.GraphClient(
            token="benchmark-token",  # noqa: S106 - the server takes any
            base_url=arguments.graph_url,
            budgets=RateBudgetTable(engine),
        )
        account = meta.fetch_ad_account(client, ACCOUNT)
        window = meta.DateWindow(since, until, clamped=False)
        query = meta.performance_query(ACCOUNT, window)
        if arguments.fields == "rival":
            query = meta.InsightsQuery(
                account_id=ACCOUNT, fields=FIELDS, since=since, until=until, key=query.key
            )
        parse = meta.performance_row_parser(
            brand_id="bench",
            account_id=ACCOUNT,
            currency=account.currency,
            today=until,
            fetched_at=now,
        )
        with client, RowSpool(META_ADS_PERFORMANCE) as spool:
            with meta.fetch_insights(client, query) as stream:
                for chunk in stream:
                    spool.append(parse(chunk))
            replace_rows(
                engine,
                META_ADS_PERFORMANCE,
                brand_id="bench",
                scopes=[Scope(values={"ad_account_id": ACCOUNT}, since=since, until=until)],
                chunks=spool,
                attempt_started_at=now,
            )
        sys.stdout.write(str(count_rows(engine, META_ADS_PERFORMANCE, brand_id="bench")))


if __name__ == "__main__":
    main()

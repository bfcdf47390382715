"""An ad account's own total: what the sum over its ads has to agree with."""

from datetime import timedelta
from decimal import Decimal

from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import TooMuchDataError
from pipeline_assets.sources.meta.rate_budget import Usage
from pipeline_assets.sources.meta.windows import DateWindow


def fetch_account_spend(client: GraphClient, account_id: str, window: DateWindow) -> Decimal:
    """The account's spend over the window in its currency; halves the window when Meta times out.

    Raises: the errors of `GraphClient.get`.
    """
    params = {
        "level": "account",
        "fields": "spend",
        "time_range": {"since": str(window.since), "until": str(window.until)},
    }
    try:
        body = client.get(
            f"{account_id}/insights", params, account_id=account_id, usage=Usage.ADS_INSIGHTS
        )
    except TooMuchDataError:
        if window.since == window.until:
            raise
        middle = window.since + (window.until - window.since) // 2
        first = DateWindow(window.since, middle, clamped=window.clamped)
        second = DateWindow(middle + timedelta(days=1), window.until, clamped=window.clamped)
        return fetch_account_spend(client, account_id, first) + fetch_account_spend(
            client, account_id, second
        )
    return sum((Decimal(row.get("spend", "0")) for row in body["data"]), Decimal(0))

"""Meta's own SDK, the leanest rival: synchronous insights, 500 rows a page, into a JSON file."""

import json
import sys
import tempfile

from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from benchmarks.ingest.fields import ACCOUNT, FIELDS, window_of


def main() -> None:
    FacebookSession.GRAPH = sys.argv[1]
    since, until = window_of(int(sys.argv[2]))
    FacebookAdsApi.init(access_token="benchmark-token", crash_log=False)  # noqa: S106
    parameters = {
        "level": "ad",
        "time_increment": 1,
        "limit": 500,
        "time_range": {"since": str(since), "until": str(until)},
    }
    count = 0
    with tempfile.TemporaryFile("w") as file:
        for row in AdAccount(ACCOUNT).get_insights(fields=FIELDS, params=parameters):
            file.write(json.dumps(row.export_all_data()) + "\n")
            count += 1
    sys.stdout.write(str(count))


if __name__ == "__main__":
    main()

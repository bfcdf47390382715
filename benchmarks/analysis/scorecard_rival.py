"""A scorecard as one writes it in a notebook; prints its seconds and CPU seconds."""

import sys
import time

import pandas as pd

from pipeline_assets.storage.engine import build_engine

_COUNTS = (
    *("impressions", "reach", "clicks", "inline_link_clicks", "spend", "purchases"),
    *("purchase_value", "landing_page_views", "video_plays", "video_3s_views", "thruplays"),
)


def main() -> None:
    url, brand_id = sys.argv[1:]
    engine = build_engine(url)
    began, cpu_began = time.perf_counter(), time.process_time()

    def read(table: str) -> pd.DataFrame:
        return pd.read_sql(f"SELECT * FROM {table} WHERE brand_id = '{brand_id}'", engine)  # noqa: S608

    rows = read("meta_ads_performance")
    rows["date"] = pd.to_datetime(rows["date"])
    days = rows.groupby(["currency", "date"])[[*_COUNTS]].sum()
    recent = rows[rows["date"] > rows["date"].max() - pd.Timedelta(28, "D")]
    ads = read("meta_ad_creatives")[["ad_id", "creative_id", "media_type"]]
    tags = read("ad_classifications")[["creative_id", "hook_type", "messaging_angle"]]
    recent = recent.merge(ads, on="ad_id")
    scores = recent.groupby(["creative_id", "currency"], as_index=False)[[*_COUNTS]].sum()
    scores = scores.merge(tags, on="creative_id", how="left")
    scores["share"] = scores["spend"] / scores.groupby("currency")["spend"].transform("sum")
    scores["hook"] = (scores["video_3s_views"] / scores["impressions"]).rank(pct=True)
    scores["hold"] = (scores["thruplays"] / scores["video_3s_views"]).rank(pct=True)
    scores["click"] = (scores["inline_link_clicks"] / scores["impressions"]).rank(pct=True)
    scores["convert"] = (scores["purchases"] / scores["inline_link_clicks"]).rank(pct=True)
    if days.empty or scores.empty:
        sys.exit("nothing to score")
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{seconds} {time.process_time() - cpu_began}\n")


if __name__ == "__main__":
    main()

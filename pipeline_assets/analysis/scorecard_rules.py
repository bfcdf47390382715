"""The thresholds by which creatives are judged, and where they come from: nothing else.

Who changes one raises SCORER_VERSION with it.
"""

SCORER_VERSION = "1.0.0"
"""Changes when the same figures would be judged otherwise."""

MIN_IMPRESSIONS = 1_000
"""With fewer, a creative has no place among the others: 1 % of them is 10 clicks, which chance
moves by a third."""

MIN_EVENTS = 100
"""Clicks or views that a rate of them needs: chance moves 100 of them by a tenth."""

BREAKS_BELOW_PERCENTILE = 25
"""A link of the chain is broken where three quarters of the creatives do better."""

CONFIDENCE_HIGH, CONFIDENCE_MEDIUM = 0.15, 0.30
"""How wide the 95 % interval of the link CTR may be to either side, relative to its middle
(Wilson's score interval): about 170 clicks for high, 40 for medium."""

CTR_FALLS_RATIO = 0.20
CPC_RISES_RATIO = 0.15
MAX_FREQUENCY = 3.5
FATIGUE_DAYS = 3
"""Rules of fatigue that buyers of ads publish: CTR 20 % under its peak or CPC up 15 %, for three
days on end; frequency above 3.5."""

MIN_FATIGUE_CLICKS = 300
"""Link clicks that a week needs for these rules: with so many, chance alone breaks the one for CTR
in 1 of 100 steady creatives and the one for CPC in 2; with 100 clicks the first in 11."""

ENOUGH_PURCHASES = 3
"""Where 3 are expected, none at all comes by chance once in 20 times (Poisson)."""

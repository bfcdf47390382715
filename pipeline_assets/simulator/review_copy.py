"""Reviews of invented products, as Amazon's customers might have written them.

Everything follows from the product's ASIN and the day: a review or two every few days, for ever.
Nobody has reviewed the product B000000000.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from pipeline_assets.simulator.ad_copy import THEMES
from pipeline_assets.simulator.metrics import uniform

WITHOUT_REVIEWS = "B000000000"
"""The product that nobody has reviewed."""

_HISTORY_DAYS = 400
_GOOD = (
    ("Finally something that works", "I was so sick of {trouble}. Finally a {kind} that works."),
    ("Love it ❤️", "I love how {joy}. Would buy it again &amp; again."),
    ("Better than expected", "Honestly I was sceptical, but after two weeks {joy}. Worth it!"),
    ("My daily companion", "My husband laughed at first.<br />Now {joy} and he uses it too 😅"),
)
_MIDDLING = (
    ("Good, but pricey", "It does what it says, but it is too expensive for what you get."),
    ("It is okay", "I wish it came in a bigger size. Otherwise {joy}."),
    ("Does it last?", "Nice so far. How long does one last with daily use?"),
)
_BAD = (
    ("Disappointed", "I still struggle with {trouble}. It did nothing for me."),
    ("Arrived broken 😡", "The lid was broken when it arrived. Waste of money."),
    ("Not for me", "It didn't help with {trouble} and the smell is terrible."),
)
_WORDS = {
    "skincare": ("dry skin in winter", "my skin finally feels soft", "cream"),
    "coffee": ("bitter coffee at the office", "every morning tastes like Italy", "coffee"),
    "shoes": ("sore feet after long shifts", "my feet no longer hurt in the evening", "shoe"),
}
_VARIANTS = ("Size: Regular", "Size: Large", "Colour: Sand")


@dataclass(frozen=True, kw_only=True)
class ForeignReview:
    """One review as its writer left it."""

    id: str
    asin: str
    product_title: str
    stars: int
    title: str
    body: str
    day: date
    variant: str
    is_verified: bool
    helpful: int


def reviews_of(asin: str, today: date) -> list[ForeignReview]:
    """A product's reviews up to today, newest first; texts hold HTML as Amazon's pages do."""
    if asin == WITHOUT_REVIEWS:
        return []
    days = (today - timedelta(days=age) for age in range(_HISTORY_DAYS))
    return [_review(asin, day) for day in days if uniform(asin, day, count=1)[0] < 0.4]


def _review(asin: str, day: date) -> ForeignReview:
    theme = sorted(THEMES)[int(uniform(asin, count=1)[0] * len(THEMES))]
    product = THEMES[theme].products[int(uniform(asin, "product", count=1)[0] * 4)]
    draw = uniform(asin, day, "review", count=7)
    stars = (1, 2, 3, 4, 4, 5, 5, 5, 5, 5)[int(draw[0] * 10)]
    pool = _GOOD if stars > 3 else _MIDDLING if stars == 3 else _BAD
    title, body = pool[int(draw[1] * len(pool))]
    trouble, joy, kind = _WORDS[theme]
    return ForeignReview(
        id=f"R{day:%y%j}{asin[-6:]}",
        asin=asin,
        product_title=f"{product.name} by Lumen & Co",
        stars=stars,
        title=title,
        body=body.format(trouble=trouble, joy=joy, kind=kind),
        day=day,
        variant=_VARIANTS[int(draw[2] * len(_VARIANTS))],
        is_verified=draw[3] < 0.85,
        helpful=int(30 * draw[4] ** 4),
    )

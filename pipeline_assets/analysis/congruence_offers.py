"""Scores an ad's price, discounts, shipping and product against its page's, 0-10 with reasons.

Belongs here: when an offer is kept and when it is severely broken. Does not: finding offers in
texts (`offers.py`), the other scores (`congruence_scores.py`).
"""

from collections.abc import Sequence
from decimal import Decimal

from pipeline_assets.analysis.congruence_scores import (
    BEST,
    AdText,
    PageText,
    Score,
    named_share,
    rounded,
    share_of_name,
)
from pipeline_assets.analysis.offers import Amount, Kind, Offers

_SAME_PRICE_RATIO = Decimal("1.02")  # rounding, and taxes of some cents

# What parts of an offer score: as promised, and as good or better in another way; then not to be
# told, something small that is missing or broken, and a broken price or discount.
_KEPT, _KEPT_OTHERWISE, _UNCLEAR, _LACKING, _BROKEN = BEST, 8.0, 4.0, 2.5, 1.0


def score_offer(ad: AdText, page: PageText, *, other_product: str | None) -> Score:
    """Price, discounts and product of the ad against the page's.

    `other_product` says in words why the page sells something else, None when it does not.
    """
    if other_product:
        return Score(0.0, (other_product,), (other_product,))
    parts = [*_offer_parts(ad, page)]
    product = _score_product(ad, page)
    if product:
        parts.append(product)
    if not parts:
        return Score(None, ("The ad names no price, discount or product of the page.",))
    values = [part.value for part in parts if part.value is not None]
    # A promise that is broken is not made up for by two that are kept.
    value = (min(values) + sum(values) / len(values)) / 2
    return Score(
        rounded(value),
        tuple(line for part in parts for line in part.evidence),
        tuple(line for part in parts for line in part.mismatches),
    )


def _offer_parts(ad: AdText, page: PageText) -> list[Score]:
    price = _score_price(ad.offers, page) or _score_rate(ad.offers, page)
    is_price_kept = (
        price is not None and not price.mismatches and (price.value or 0) >= _KEPT_OTHERWISE
    )
    scores = [
        price,
        _score_several(ad.offers, page),
        _score_discount(ad.offers, page, is_price_kept=is_price_kept),
    ]
    offers = ad.offers
    if offers.is_several_for_less:
        scores.append(_kept_or_missing(page.offers.is_several_for_less, "More for less"))
    if offers.is_shipping_free:
        scores.append(_score_shipping(page))
    if offers.is_something_free:
        is_kept = page.offers.is_something_free
        line = "The page gives something free too." if is_kept else "Nothing is free on the page."
        scores.append(Score(_KEPT if is_kept else _UNCLEAR, (line,)))
    return [score for score in scores if score is not None]


def _score_price(offers: Offers, page: PageText) -> Score | None:
    asked = offers.of_kind(Kind.PRICE)
    ceilings = offers.of_kind(Kind.CEILING)
    if not asked and not ceilings:
        return None
    mentioned = min(asked or ceilings, key=lambda amount: amount.value)
    named = page.prices or page.rates  # "for $9", where the page says what for each month
    if not named:
        return _no_price(mentioned)
    comparable = [price for price in page.prices if price.is_same_currency(mentioned)]
    same = _same_price(asked, named)
    if same or not comparable:
        return same or _not_compared(mentioned, named[0])
    return _compare_prices(mentioned, comparable[0])


def _score_rate(offers: Offers, page: PageText) -> Score | None:
    """A price for each of something is held against the page's for each of the same."""
    asked = offers.of_kind(Kind.RATE)
    if not asked:
        return None
    mentioned = min(asked, key=lambda amount: amount.value)
    named = (*page.rates, *page.prices)
    if not named:
        return _no_price(mentioned)
    alike = [
        rate
        for rate in page.rates
        if rate.per == mentioned.per and rate.is_same_currency(mentioned)
    ]
    same = _same_price(asked, named)
    if same or not alike:
        return same or _not_compared(mentioned, named[0])
    return _compare_prices(mentioned, min(alike, key=lambda rate: rate.value))


def _no_price(in_ad: Amount) -> Score:
    return Score(_UNCLEAR, (f"The page names no price, the ad {in_ad}.",))


def _not_compared(in_ad: Amount, on_page: Amount) -> Score:
    return Score(_UNCLEAR, (f"Not compared: {in_ad} in the ad, {on_page} on the page.",))


def _same_price(asked: Sequence[Amount], on_page: Sequence[Amount]) -> Score | None:
    same = [price for price in on_page if any(_is_same(price, each) for each in asked)]
    return Score(_KEPT, (f"The same price: {same[0]}.",)) if same else None


def _compare_prices(in_ad: Amount, on_page: Amount) -> Score:
    if on_page.value <= in_ad.value * _SAME_PRICE_RATIO:
        is_cheaper = on_page.value * _SAME_PRICE_RATIO < in_ad.value
        line = f"{in_ad} in the ad, {on_page} on the page."
        return Score(
            _KEPT_OTHERWISE if is_cheaper and in_ad.kind != Kind.CEILING else _KEPT, (line,)
        )
    line = f"Higher price: {in_ad} in the ad, {on_page} on the page."
    return Score(_BROKEN, (line,), (line,))


def _is_same(one: Amount, other: Amount) -> bool:
    """Whether it is one price, of the same unit where both tell theirs."""
    low, high = sorted((one.value, other.value))
    is_same_unit = one.per == other.per or "" in {one.per, other.per}
    return is_same_unit and one.is_same_currency(other) and high <= low * _SAME_PRICE_RATIO


def _score_several(offers: Offers, page: PageText) -> Score | None:
    asked = offers.of_kind(Kind.SEVERAL)
    if not asked:
        return None
    found = [amount for amount in asked if any(_is_same(amount, price) for price in page.prices)]
    if found:
        return Score(_KEPT, (f"The same price for several: {found[0]}.",))
    return Score(_LACKING, (f"The price for several, {asked[0]}, is not on the page.",))


def _score_discount(offers: Offers, page: PageText, *, is_price_kept: bool) -> Score | None:
    percents, amounts = offers.percents, offers.of_kind(Kind.OFF)
    if not percents and not amounts:
        return None
    promised = f"{max(percents):f}% off" if percents else f"{amounts[0]} off"
    found = _compare_percents(offers, page) if percents else _compare_amounts(amounts, page)
    if found is not None:
        return found
    if is_price_kept:
        return Score(
            _KEPT_OTHERWISE, (f"The page does not speak of {promised}, but has the ad's price.",)
        )
    if offers.has_code:
        return Score(_UNCLEAR, (f"The page does not speak of {promised}; the ad gives a code.",))
    line = f"Discount missing: the ad promises {promised}, the page does not."
    return Score(_BROKEN, (line,), (line,))


def _compare_percents(offers: Offers, page: PageText) -> Score | None:
    promised = max(offers.percents)
    given = {*page.offers.percents, *_implied_percents(page)}
    if any(abs(percent - promised) <= 1 for percent in given):
        is_first = promised in page.first_offers.percents
        where = "in the page's first words" if is_first else "on the page"
        return Score(
            _KEPT if is_first else _KEPT_OTHERWISE, (f"{promised:f}% off stands {where}.",)
        )
    if not given:
        return None
    return _more_or_less(promised, max(given), "% off")


def _compare_amounts(amounts: Sequence[Amount], page: PageText) -> Score | None:
    promised = max(amounts, key=lambda amount: amount.value)
    saved = [amount.value for amount in page.offers.of_kind(Kind.OFF)] + [
        before - now for before, now in _reductions(page)
    ]
    if promised.value in saved:
        return Score(_KEPT, (f"{promised} off stands on the page.",))
    if saved:
        return _more_or_less(promised.value, max(saved), " off")
    if page.offers.percents:
        return Score(_UNCLEAR, (f"{promised} off in the ad, a percentage off on the page.",))
    return None


def _more_or_less(promised: Decimal, given: Decimal, unit: str) -> Score:
    if given > promised:
        return Score(
            _KEPT_OTHERWISE, (f"{promised:f}{unit} in the ad, up to {given:f}{unit} on the page.",)
        )
    line = f"Smaller discount: {promised:f}{unit} in the ad, {given:f}{unit} on the page."
    return Score(_BROKEN, (line,), (line,))


def _reductions(page: PageText) -> list[tuple[Decimal, Decimal]]:
    """What was before and what it costs now, where the page strikes a price out."""
    if not page.prices:
        return []
    now = page.prices[0]
    struck = page.offers.of_kind(Kind.BEFORE)
    return [(each.value, now.value) for each in struck if each.value > now.value > 0]


def _implied_percents(page: PageText) -> set[Decimal]:
    return {round(100 * (before - now) / before) + Decimal(0) for before, now in _reductions(page)}


def _score_shipping(page: PageText) -> Score:
    if page.offers.is_shipping_free:
        return Score(_KEPT, ("Free shipping on both.",))
    if page.offers.is_shipping_paid:
        return Score(_LACKING, ("Free shipping in the ad, shipping to be paid on the page.",))
    return Score(_UNCLEAR, ("The page does not speak of the free shipping.",))


def _kept_or_missing(is_kept: bool, promised: str) -> Score:  # noqa: FBT001 - it is the question
    if is_kept:
        return Score(_KEPT, (f"{promised}: on both.",))
    line = f"Discount missing: {promised.lower()} in the ad, not on the page."
    return Score(_BROKEN, (line,), (line,))


def _score_product(ad: AdText, page: PageText) -> Score | None:
    share = named_share(ad, page)
    if share == 0:
        return None
    name = max(page.products, key=lambda product: share_of_name(product[1], ad))[0]
    return Score(
        _KEPT if share >= 0.5 else _KEPT_OTHERWISE, (f"The ad speaks of the page's {name}.",)
    )

"""Ages in words, the same ones wherever people read them."""


def age_text(seconds: float | None) -> str:
    """An age in one short unit: 40 s, 5 min, 3 h, 11 d."""
    if seconds is None:
        return "-"
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"

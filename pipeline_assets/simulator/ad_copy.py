"""What the simulated shops sell and how their ads speak: invented goods, texts in varied hooks.

Texts may use `{product}` and `{price}`. Nothing here depends on seed or time.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One good: `price` in whole units of a dollar-like currency, `shape` is what pictures draw."""

    name: str
    slug: str
    price: int
    shape: str


@dataclass(frozen=True)
class Hook:
    """A headline, the primary text below it and the badge in the picture (may be empty)."""

    headline: str
    body: str
    badge: str = ""


@dataclass(frozen=True)
class Theme:
    """A shop: its goods, its ads' texts and its colours (hex: background, accent, ink)."""

    products: tuple[Product, ...]
    hooks: tuple[Hook, ...]
    palettes: tuple[tuple[str, str, str], ...]


_SKINCARE = Theme(
    products=(
        Product("Dew Serum", "dew-serum", 34, "bottle"),
        Product("Barrier Cream", "barrier-cream", 28, "jar"),
        Product("Daily Mineral SPF 50", "mineral-spf", 26, "tube"),
        Product("Overnight Mask", "overnight-mask", 39, "jar"),
    ),
    hooks=(
        Hook(
            "Why is your skin dry by noon?",
            "Still dry by noon? It is not you, it is your cleanser. {product} locks in water for "
            "24 hours. See how it works.",
        ),
        Hook(
            "The last serum you will buy",
            "{product} replaces four bottles on your shelf. One step, two minutes, done.",
        ),
        Hook(
            "4.8 stars from 12,400 people",
            "“I stopped wearing foundation after three weeks.” Join 12,400 happy customers who "
            "switched to {product}.",
            "4.8 / 5",
        ),
        Hook(
            "20% off your first order",
            "Today only: 20% off {product}, now from {price}. Free shipping, 60 days to return.",
            "-20%",
        ),
        Hook(
            "How to layer skincare in 3 steps",
            "Step 1: cleanse. Step 2: {product} on damp skin. Step 3: sunscreen. That is all. "
            "Save this for tonight.",
        ),
        Hook(
            "I was tired of redness",
            "Three years ago I could not leave the house without concealer. Then our chemist "
            "friend mixed the first jar of {product}. This is our story.",
        ),
        Hook(
            "Stop scrubbing your face",
            "Scrubs tear the skin barrier. Don't do it. {product} renews without a single grain.",
        ),
        Hook(
            "Ours vs. the luxury one",
            "Same ceramides, a third of the price. We compared {product} with a $90 cream so that "
            "you don't have to.",
            "{price}",
        ),
        Hook(
            "93% saw calmer skin in 14 days",
            "In a test with 211 people, 93% saw calmer skin after 14 days of {product}.",
            "93%",
        ),
        Hook(
            "New: {product}",
            "It is finally here. {product}, made without fragrance, launching today.",
            "NEW",
        ),
    ),
    palettes=(
        ("#f6e7df", "#c4614a", "#3a2420"),
        ("#e3efe8", "#2f7d5d", "#163329"),
        ("#efe9f7", "#7450b8", "#2a1b4a"),
    ),
)

_COFFEE = Theme(
    products=(
        Product("House Espresso", "house-espresso", 16, "bag"),
        Product("Cold Brew Cans", "cold-brew", 24, "can"),
        Product("Pour-Over Kit", "pour-over-kit", 42, "cup"),
        Product("Decaf Honduras", "decaf-honduras", 18, "bag"),
    ),
    hooks=(
        Hook(
            "Is your coffee older than your milk?",
            "Supermarket beans are roasted months ago. {product} ships within 24 hours of "
            "roasting. Taste the difference.",
        ),
        Hook(
            "Barista coffee for 40 cents",
            "A flat white in town: 4.50. At home with {product}: 40 cents. Do the maths.",
            "{price}",
        ),
        Hook(
            "Buy 2, get 1 free",
            "Until Sunday: buy two bags of {product} and the third is on us. Use code THREE.",
            "2+1 FREE",
        ),
        Hook(
            "Coffee people, this is for you",
            "If you own a scale and are not ashamed of it, {product} was roasted for you.",
        ),
        Hook(
            "You are grinding it wrong",
            "Bitter cup? Your grinder is too fine. Three clicks coarser with {product} and you "
            "will never look back.",
        ),
        Hook(
            "From Maria's farm to your cup",
            "Maria grows coffee at 1,600 metres. We pay her double the market price, and you can "
            "taste why. {product}, traceable to the hill.",
        ),
        Hook(
            "31,000 bags and counting",
            "31,000 bags sold since spring. “Best espresso outside Italy,” says Tom. Try "
            "{product}.",
            "31,000+",
        ),
        Hook(
            "Only 300 bags of this lot",
            "Our smallest lot of the year: 300 bags of {product}. When it is gone, it is gone.",
            "LAST BAGS",
        ),
    ),
    palettes=(
        ("#efe3d3", "#8a4b22", "#2c180b"),
        ("#dfe6ea", "#24566f", "#0f2530"),
        ("#f4e9c8", "#b8860b", "#33260a"),
    ),
)

_SHOES = Theme(
    products=(
        Product("Cloud Runner", "cloud-runner", 119, "shoe"),
        Product("Trail Mid", "trail-mid", 149, "shoe"),
        Product("Everyday Slip-On", "everyday-slip-on", 79, "shoe"),
        Product("Merino Socks", "merino-socks", 19, "bag"),
    ),
    hooks=(
        Hook(
            "Do your feet hurt after work?",
            "Ten hours on your feet should not hurt. {product} was built with nurses, for nurses.",
        ),
        Hook(
            "We wore them for 500 miles",
            "500 miles, one pair, no blisters. Watch what was left of {product} at the end.",
        ),
        Hook(
            "30% off ends tonight",
            "Last chance: 30% off {product}. From {price} until midnight. Hurry, sizes are going.",
            "-30%",
        ),
        Hook(
            "Lighter than your phone",
            "At 178 grams, {product} is lighter than the phone you are holding.",
            "178 g",
        ),
        Hook(
            "Walk in them for 60 days",
            "Wear {product} outside for 60 days. Don't love them? Send them back, dirty.",
            "60 DAYS",
        ),
        Hook(
            "Nobody talks about your arches",
            "There is one thing shoe shops never tell you about arches. We will.",
        ),
        Hook(
            "“My knees stopped hurting”",
            "“After two weeks in {product} my knees stopped hurting.” Anna, runner, 54.",
            "5 / 5",
        ),
        Hook(
            "Made from 7 plastic bottles",
            "Each pair of {product} keeps 7 bottles out of the sea. Comfortable, for you and them.",
        ),
    ),
    palettes=(
        ("#e8eef9", "#2753c4", "#0d1c45"),
        ("#fbe8e4", "#d6402b", "#3f0f08"),
        ("#e9f5d8", "#4c8a12", "#1b3105"),
    ),
)

THEMES: dict[str, Theme] = {"skincare": _SKINCARE, "coffee": _COFFEE, "shoes": _SHOES}
"""Every theme by the name an AccountSpec gives."""

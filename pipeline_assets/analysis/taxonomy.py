"""The closed vocabularies that ads are tagged with: every tag column and each value it may hold.

Belongs here: the words and what each one means, for people who tag by hand, for rules and for
language models alike. Does not: how a value is found (`classification.py`). Each vocabulary has an
`unknown`: no evidence is no guess. A change of the words or of a meaning is a new TAXONOMY_VERSION.

Source: the vocabularies are those that creative-analytics tools publish (hooks, angles, visual
formats); awareness is Eugene Schwartz's, "Breakthrough Advertising" (1966).
"""

from enum import StrEnum

TAXONOMY_VERSION = "1.0.0"
"""Kept on every tagged row, so that tags of different vocabularies are never mixed unseen."""


class MediaType(StrEnum):
    """What Meta shows."""

    IMAGE = "image"
    VIDEO = "video"
    CAROUSEL = "carousel"
    COLLECTION = "collection"
    UNKNOWN = "unknown"


class AssetType(StrEnum):
    """Where the picture or film comes from."""

    UGC = "ugc"
    """Made by a customer or creator, or made to look so."""
    STUDIO = "studio"
    """A produced, polished brand film or photograph."""
    FOUNDER = "founder"
    """The founder or owner speaks."""
    TESTIMONIAL = "testimonial"
    """A customer's words are the content."""
    SCREENSHOT = "screenshot"
    """A screen: an app, a chat, a post, a review."""
    ILLUSTRATION = "illustration"
    """Drawn or animated."""
    TEXT_ONLY = "text_only"
    """Words on a plain ground."""
    PRODUCT_SHOT = "product_shot"
    """The product and nothing else."""
    LIFESTYLE = "lifestyle"
    """The product in use in a staged scene."""
    OTHER = "other"
    """Named in the ad, and none of the above (a meme, press clipping, stock footage, …)."""
    UNKNOWN = "unknown"


class VisualFormat(StrEnum):
    """How the picture or film is built."""

    SINGLE_IMAGE = "single_image"
    """One still, of which no more is known."""
    CAROUSEL_CARDS = "carousel_cards"
    """Cards to swipe, of which no more is known."""
    CATALOG = "catalog"
    """Cards or tiles filled from a product catalogue."""
    TALKING_HEAD = "talking_head"
    VOICEOVER = "voiceover"
    DEMO = "demo"
    """The product at work, or a tutorial with it."""
    UNBOXING = "unboxing"
    BEFORE_AFTER = "before_after"
    US_VS_THEM = "us_vs_them"
    """A table or split screen against a rival or the old way."""
    LISTICLE = "listicle"
    """Numbered reasons."""
    FEATURE_CALLOUT = "feature_callout"
    """A product with arrows or labels that name its features."""
    REVIEW_CARD = "review_card"
    """A written review or stars laid over a picture."""
    PRESS = "press"
    """A headline or logo of a publication."""
    MEME = "meme"
    SKIT = "skit"
    """Acted, including point-of-view clips."""
    INTERVIEW = "interview"
    """Street interview or podcast clip."""
    GREEN_SCREEN = "green_screen"
    """A person in front of a post, page or article."""
    SLIDESHOW = "slideshow"
    """Stills shown as a film."""
    TEXT_OVERLAY = "text_overlay"
    """Words carry it: headline static, note, post-it, tweet."""
    UNKNOWN = "unknown"


class HookType(StrEnum):
    """How the first words win attention: the first sentence of the text, else the headline.

    The most specific device counts: a question that names a pain is `problem`, one that cites a
    figure is `statistic`; `question` is left for those whose pull is the asking itself.
    """

    QUESTION = "question"
    BOLD_CLAIM = "bold_claim"
    """A superlative or a strong promise, without proof."""
    PROBLEM = "problem"
    """Names a pain or an annoyance."""
    CURIOSITY = "curiosity"
    """Holds something back: a secret, a reason, what nobody tells."""
    SOCIAL_PROOF = "social_proof"
    """Others' words, numbers of customers, ratings, press."""
    OFFER = "offer"
    """A price, discount, gift or trial comes first."""
    HOW_TO = "how_to"
    """Promises to show the way, or a list of tips."""
    STORY = "story"
    """Begins to tell: I, we, she, once."""
    COMPARISON = "comparison"
    """Sets two things against each other."""
    NEGATIVE = "negative"
    """Tells the reader not to, or that something is wrong."""
    NEWS = "news"
    """New, launched, back."""
    DIRECT_ADDRESS = "direct_address"
    """Names who is meant: Dog owners!, If you run a shop, …"""
    STATISTIC = "statistic"
    """A figure about the world or a study."""
    URGENCY = "urgency"
    """Time or stock runs out."""
    UNKNOWN = "unknown"


class MessagingAngle(StrEnum):
    """What the argument rests on."""

    PAIN = "pain"
    """The trouble the reader has now."""
    OUTCOME = "outcome"
    """What life or business is like afterwards."""
    PROOF = "proof"
    """Others' results, reviews, studies, awards, experts."""
    COMPARISON = "comparison"
    """Better than the alternative."""
    IDENTITY = "identity"
    """Who the reader is or wants to be; shared beliefs."""
    VALUE = "value"
    """What it costs or saves in money."""
    NOVELTY = "novelty"
    """It is new, or works in a new way."""
    OBJECTION = "objection"
    """Takes away a doubt: risk, effort, fit, guarantee."""
    UNKNOWN = "unknown"


class AwarenessStage(StrEnum):
    """What the reader is assumed to know already."""

    UNAWARE = "unaware"
    """Not even the problem: a story or observation, neither pain nor product named at first."""
    PROBLEM_AWARE = "problem_aware"
    """The pain: the ad dwells on it before anything is offered."""
    SOLUTION_AWARE = "solution_aware"
    """That a kind of remedy exists: the ad explains the way or why this way is better."""
    PRODUCT_AWARE = "product_aware"
    """The product: features, proof, comparisons, answers to doubts."""
    MOST_AWARE = "most_aware"
    """Nearly sold: the deal, the price, the deadline, a reminder."""
    UNKNOWN = "unknown"


class Emotion(StrEnum):
    """The feeling the words play on most."""

    JOY = "joy"
    """Delight, fun, treat, celebration, humour."""
    TRUST = "trust"
    """Safety, proof, competence, honesty."""
    FEAR = "fear"
    """Of harm, loss, error or danger."""
    FRUSTRATION = "frustration"
    """Annoyance, weariness with how things are."""
    ASPIRATION = "aspiration"
    """Wish to be, look, have or achieve more."""
    CURIOSITY = "curiosity"
    BELONGING = "belonging"
    """Family, community, shared values, compassion."""
    RELIEF = "relief"
    """Ease, calm, a burden gone."""
    FOMO = "fomo"
    """Urge not to miss a chance: deadline, scarcity, bargain."""
    UNKNOWN = "unknown"


class Cta(StrEnum):
    """What the ad asks for; the words of the text count before a mere default button."""

    SHOP = "shop"
    LEARN_MORE = "learn_more"
    SIGN_UP = "sign_up"
    """Register, join, start a trial, enter a giveaway."""
    SUBSCRIBE = "subscribe"
    DOWNLOAD = "download"
    """Install an app or game, or fetch a file."""
    BOOK = "book"
    """An appointment, table, trip, ticket or demo."""
    GET_QUOTE = "get_quote"
    GET_OFFER = "get_offer"
    CONTACT = "contact"
    """Call, write, message."""
    APPLY = "apply"
    DONATE = "donate"
    WATCH = "watch"
    """Watch or listen."""
    VISIT = "visit"
    """Come to a place."""
    UNKNOWN = "unknown"


class OfferType(StrEnum):
    """What is offered besides the product; the one that is made most of."""

    DISCOUNT = "discount"
    """A percentage, an amount or a code off."""
    BUNDLE = "bundle"
    """Several for less, including two for one."""
    FREE_SHIPPING = "free_shipping"
    FREE_TRIAL = "free_trial"
    """Use before paying: trial, sample, free plan."""
    FREE_GIFT = "free_gift"
    """Something extra with a purchase."""
    LEAD_MAGNET = "lead_magnet"
    """A free guide, class, quiz, consultation or quote."""
    GUARANTEE = "guarantee"
    """Money back, warranty, free returns."""
    FINANCING = "financing"
    """Pay later or by instalments."""
    GIVEAWAY = "giveaway"
    """Something to win."""
    REWARD = "reward"
    """Cash back, credit or bonus for joining, referring or coming back."""
    NONE = "none"
    """The text was read and makes no offer."""
    UNKNOWN = "unknown"


class FunnelStage(StrEnum):
    """Where in the journey the ad is meant to work."""

    TOP = "top"
    """To be noticed: problem, story, entertainment, education, a cause."""
    MIDDLE = "middle"
    """To be weighed: product, proof, comparison, something to try or read."""
    BOTTOM = "bottom"
    """To be bought: deal, deadline, reminder, an appointment or quote."""
    UNKNOWN = "unknown"


DIMENSIONS: dict[str, type[StrEnum]] = {
    "media_type": MediaType,
    "asset_type": AssetType,
    "visual_format": VisualFormat,
    "hook_type": HookType,
    "messaging_angle": MessagingAngle,
    "awareness_stage": AwarenessStage,
    "emotion": Emotion,
    "cta": Cta,
    "offer_type": OfferType,
    "funnel_stage": FunnelStage,
}
"""Every tag column and its vocabulary, in the order of the table."""

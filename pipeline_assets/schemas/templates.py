"""What becomes of templates: whether they may be used, and the ads drafted from them."""

from pipeline_assets.schemas.columns import (
    BRAND,
    FETCHED,
    TableSchema,
    flag,
    instant,
    number,
    structure,
    text,
)

TEMPLATE_APPROVALS = TableSchema(
    name="template_approvals",
    key=("brand_id", "template_id"),
    columns=(
        BRAND,
        text("template_id", "`library_ad_id` of the template", nullable=False),
        text("state", "approved, rejected, or pending: a person has to look", nullable=False),
        text("decided_by", "`rules`, or the person: user:somebody@example.com", nullable=False),
        structure("reasons", "Why, list of text", nullable=False),
        instant("decided_at", "When it came to this state", nullable=False),
        number("score", "What speaks for the template by its signs of success, 0-100"),
        structure(
            "score_parts",
            "What the score is made of: list of {name, points, most, why}",
            nullable=False,
        ),
        text("rule_state", "What the rules alone decide", nullable=False),
        structure("policy_words", "Words found that policies forbid, list of text", nullable=False),
        text("duplicate_of", "The template that this one copies"),
        flag("is_overruled", "A person decided otherwise than the rules"),
        text("rules_version", "Version of the rules", nullable=False),
        FETCHED,
    ),
)

AD_CREATIONS = TableSchema(
    name="ad_creations",
    key=("brand_id", "draft_id"),
    columns=(
        BRAND,
        text("draft_id", "sha256 of its lineage: the same three give the same", nullable=False),
        text("template_id", "The approved template that it follows", nullable=False),
        text("creative_key", "The brand's own creative whose hook it uses"),
        text("product_name", "The product that it is for", nullable=False),
        text("product_url", "Where a click would lead", nullable=False),
        text("hook_type", "The hook that it uses"),
        text("headline", "At most 40 characters", nullable=False),
        text("primary_text", "At most 125 characters before it is cut", nullable=False),
        text("description", "At most 30 characters"),
        text("cta", "Meta's type of the button: SHOP_NOW, …", nullable=False),
        structure(
            "pictures",
            "Rendered PNGs: list of {ratio, width, height, sha256}",
            nullable=False,
        ),
        structure("lineage", "Template, hook, product and phrases, with why", nullable=False),
        text("review_state", "draft, approved or rejected; nothing is published", nullable=False),
        text("reviewed_by", "The person: user:somebody@example.com"),
        text("review_reason", "Why, in that person's words"),
        instant("reviewed_at", "When it was reviewed"),
        text("drafter", "Who drafted: rules, or the name of a language model", nullable=False),
        text("drafter_version", "Its version", nullable=False),
        instant("drafted_at", "When it was drafted", nullable=False),
        FETCHED,
    ),
)

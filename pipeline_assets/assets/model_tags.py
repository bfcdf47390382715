"""Asking a brand's language model about ads, in batches, as far as the day's money reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.attempt import Attempt
from pipeline_assets.clock import utcnow
from pipeline_assets.errors import CredentialError, SourceRejectedError

if TYPE_CHECKING:
    from pipeline_assets.analysis.classification import Creative, Tag
    from pipeline_assets.brands.models import LanguageModelSource
    from pipeline_assets.sources.language_model import LanguageModel, Picture, Reply

BATCH_ADS = 8
"""Instructions are paid for once per call; more ads than this and models begin to mix them up."""

LONGEST_ASKING = timedelta(minutes=30)
"""Then the rest waits for the next run: what is paid for must be stored before the run's limit."""

_OUTPUT_TOKENS_OF_AD = 600  # ten tags with their quotes
_OUTPUT_TOKENS_OF_THOUGHT = 2000  # for models that think before they write
_INPUT_TOKENS_OF_PICTURE = 1000  # more than any provider counts for one of this size
_BYTES_OF_TOKEN = 3  # fewer than in any language: costs are judged too high rather than too low
_FORM_TOKENS = 2500
_MILLION = 1_000_000
_MOST_BLIND_BATCHES = 2


@dataclass(frozen=True)
class AskedContent:
    """What the model is to tag, for every creative of that hash: what is read, and a picture.

    `picture_sha256` is the picture's name in the media store.
    """

    content_hash: str
    creative: Creative
    picture_sha256: str | None


@dataclass
class ModelTags:
    """Tags by content hash, and for all others of those asked about why there are none.

    `saw_pictures`: the model has been shown some; `blind_batches` had to be asked about without.
    """

    tags: dict[str, dict[str, Tag]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    cost_usd: Decimal = Decimal(0)
    saw_pictures: bool = False
    blind_batches: int = 0
    pictures_left_out: int = 0

    @property
    def takes_pictures(self) -> bool:
        """Whether there is use in sending them; one refusal may be for one picture's sake."""
        return self.saw_pictures or self.blind_batches < _MOST_BLIND_BATCHES

    def give_up(self, asked: Sequence[AskedContent], reason: str) -> None:
        """Leave these to the rules."""
        self.reasons |= {each.content_hash: reason for each in asked}


@dataclass(frozen=True)
class _Tokens:
    input: int
    output: int

    def cost_usd(self, source: LanguageModelSource) -> Decimal:
        """What they cost by the brand's prices."""
        prices = (
            Decimal(str(source.input_usd_per_million)),
            Decimal(str(source.output_usd_per_million)),
        )
        return (self.input * prices[0] + self.output * prices[1]) / _MILLION


def ask_model(
    attempt: Attempt, source: LanguageModelSource, asked: Sequence[AskedContent]
) -> ModelTags:
    """What the model says of what it is asked about; what goes wrong is a reason, never an error.

    A batch that is refused or whose answer cannot be used is left out; refused credentials, an
    outage, the end of the day's money or of the time for it leave out all that follow. What is
    refused with pictures is asked about without them.

    Raises:
        InvalidConfigError: the model's library is not installed, or there is no such provider.
        DatabaseUnavailableError, StorageFullError: our own storage failed.
    """
    found = ModelTags()
    if not asked:
        return found
    try:
        model = attempt.installation.language_model(source)
    except CredentialError as error:
        found.give_up(asked, str(error))
        return found
    with model:
        for start in range(0, len(asked), BATCH_ADS):
            attempt.heartbeat.progress(start, total=len(asked), stage=f"asking {source.model}")
            batch = asked[start : start + BATCH_ADS]
            if not _ask_batch(attempt, source, model, batch, found):
                found.give_up(asked[start + BATCH_ADS :], found.reasons[batch[0].content_hash])
                break
    return found


def _ask_batch(
    attempt: Attempt,
    source: LanguageModelSource,
    model: LanguageModel,
    batch: Sequence[AskedContent],
    found: ModelTags,
) -> bool:
    """Take in what the model says of a batch; False: there is no use in asking about others."""
    from pipeline_assets.analysis.model_tagging import read_form  # noqa: PLC0415
    from pipeline_assets.sources.language_model import WrongAnswerError  # noqa: PLC0415

    whole = list(_material(attempt, batch))
    texts = _texts(whole)
    material: Sequence[str | Picture] = whole if found.takes_pictures else texts
    obstacle = _obstacle(attempt, source, _most_tokens(material).cost_usd(source))
    if obstacle:
        found.give_up(batch, obstacle)
        return False
    reply = _fill_in(attempt, source, model, material, found)
    if isinstance(reply.error, SourceRejectedError) and material != texts:
        attempt.log(f"Asking again without pictures: {reply.error}")
        material = texts
        reply = _fill_in(attempt, source, model, material, found)
    if reply.form is not None:
        found.tags |= {
            each.content_hash: tags for each, tags in zip(batch, read_form(reply.form), strict=True)
        }
        found.pictures_left_out += len(whole) - len(material)
        if material is whole:
            found.saw_pictures |= whole != texts
        elif found.takes_pictures:
            found.blind_batches += 1
        return True
    found.give_up(batch, str(reply.error))
    attempt.log(f"{len(batch)} different creatives are left to the rules: {reply.error}")
    return isinstance(reply.error, WrongAnswerError | SourceRejectedError)


def _fill_in(
    attempt: Attempt,
    source: LanguageModelSource,
    model: LanguageModel,
    material: Sequence[str | Picture],
    found: ModelTags,
) -> Reply[Any]:
    """One call about the ads of `material`, written down."""
    from pipeline_assets.analysis import model_tagging  # noqa: PLC0415

    ad_count = len(_texts(material))
    reply = model.fill_in(
        model_tagging.form_for(ad_count),
        instructions=model_tagging.instructions(),
        material=material,
        max_output_tokens=_most_output(ad_count),
    )
    _record(attempt, source, reply, _most_tokens(material), found)
    return reply


def _material(attempt: Attempt, batch: Sequence[AskedContent]) -> Iterator[str | Picture]:
    from pipeline_assets.analysis.model_tagging import show_ad  # noqa: PLC0415

    for number, each in enumerate(batch, start=1):
        yield show_ad(number, each.creative)
        picture = _read_picture(attempt, each.picture_sha256)
        if picture is not None:
            yield picture


def _read_picture(attempt: Attempt, sha256: str | None) -> Picture | None:
    from pipeline_assets.sources.language_model import shrink_picture  # noqa: PLC0415

    if sha256 is None or not attempt.installation.media.has(sha256):
        return None
    with attempt.installation.media.open(sha256) as file:
        return shrink_picture(file.read())


def _texts(material: Sequence[str | Picture]) -> list[str]:
    """The material without its pictures: a text for each ad."""
    return [part for part in material if isinstance(part, str)]


def _most_output(ad_count: int) -> int:
    return _OUTPUT_TOKENS_OF_THOUGHT + _OUTPUT_TOKENS_OF_AD * ad_count


def _most_tokens(material: Sequence[str | Picture]) -> _Tokens:
    """The most that a call can take, its second try with the first answer sent back included."""
    from pipeline_assets.analysis.model_tagging import instructions  # noqa: PLC0415

    texts = _texts(material)
    most_output = _most_output(len(texts))
    once = (
        sum(len(text.encode()) for text in (instructions(), *texts)) // _BYTES_OF_TOKEN
        + (len(material) - len(texts)) * _INPUT_TOKENS_OF_PICTURE
        + _FORM_TOKENS
    )
    return _Tokens(input=2 * once + most_output, output=2 * most_output)


def _obstacle(attempt: Attempt, source: LanguageModelSource, most_usd: Decimal) -> str | None:
    """Why the next call must not be made; None: it may."""
    from pipeline_assets.storage.model_spend import read_spent_usd  # noqa: PLC0415

    now = utcnow()
    if now - attempt.started_at > LONGEST_ASKING:
        return "There was no time left to ask about it in this run; the next one goes on."
    spent = read_spent_usd(attempt.installation.engine, brand_id=attempt.brand.id, day=now.date())
    if spent + most_usd > Decimal(str(source.daily_usd)):
        return (
            f"Today's money for the language model, ${source.daily_usd:g}, does not reach for "
            f"another call: ${spent:.4f} is spent, a call may cost ${most_usd:.4f}."
        )
    return None


def _record(
    attempt: Attempt,
    source: LanguageModelSource,
    reply: Reply[Any],
    most: _Tokens,
    found: ModelTags,
) -> None:
    """Write down what the call cost; an answer that does not tell, right or wrong, the most."""
    from pipeline_assets.sources.language_model import WrongAnswerError  # noqa: PLC0415
    from pipeline_assets.storage.model_spend import record_call  # noqa: PLC0415

    used = _Tokens(reply.input_tokens, reply.output_tokens)
    is_answer = reply.form is not None or isinstance(reply.error, WrongAnswerError)
    if is_answer and not used.input:
        used = most
    cost = used.cost_usd(source)
    found.calls += 1
    found.cost_usd += cost
    record_call(
        attempt.installation.engine,
        brand_id=attempt.brand.id,
        day=utcnow().date(),
        model=source.model,
        input_tokens=used.input,
        output_tokens=used.output,
        cost_usd=cost,
    )


def read_picture_names(attempt: Attempt) -> Mapping[str, str]:
    """By creative id the name of its picture: its image, else its film's still or its thumbnail."""
    from pipeline_assets.schemas import AD_ASSETS, AD_THUMBNAILS  # noqa: PLC0415

    names: dict[str, str] = {}
    thumbnails = attempt.read_rows(AD_THUMBNAILS, columns=["creative_id", "sha256"])
    assets = attempt.read_rows(
        AD_ASSETS, columns=["creative_id", "media_type", "sha256", "poster_sha256"]
    )
    pictures = [
        *((row["creative_id"], row["sha256"]) for row in assets if row["media_type"] == "image"),
        *((row["creative_id"], row["poster_sha256"]) for row in assets),
        *((row["creative_id"], row["sha256"]) for row in thumbnails),
    ]
    for creative_id, sha256 in pictures:
        if sha256:
            names.setdefault(creative_id, sha256)
    return names

"""A language model that fills in a given form, through pydantic-ai.

Belongs here: reaching a provider or an OpenAI-compatible server, pictures on the way there, and its
errors as ours. Does not: what is asked, and what it may cost. pydantic-ai is an optional extra of
this package and imported only when a model is opened.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ValidationError

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.redaction import redact, register_secret

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.providers import Provider

ProviderT = TypeVar("ProviderT", bound="Provider[Any]")
FormT = TypeVar("FormT", bound=BaseModel)

PICTURE_PIXELS = 512
"""The longer side of a picture as it is sent: enough to see what it shows, cheap to read."""

TRIES = 2
"""A wrong answer is sent back once, with what is wrong about it."""

_TIMEOUT_SECONDS = 120.0  # for a batch with pictures; models that think take their time
_CALLS = 3  # with the pauses below: a blip or a limit of a minute, not an outage
_FIRST_PAUSE_SECONDS = 1.0
_LIMIT_SECONDS = 10.0  # where a provider does not say for how long
_MESSAGE_CHARACTERS = 300
_ADVICE = "Look at the brand's sources.language_model."


class WrongAnswerError(SourceUnavailableError):
    """The model answered something that cannot be read, or twice not what the form asks for."""


@dataclass(frozen=True)
class Picture:
    """A JPEG, made by `shrink_picture`."""

    jpeg: bytes


@dataclass(frozen=True)
class Reply(Generic[FormT]):
    """The form, or why there is none; the tokens are paid for either way."""

    form: FormT | None
    error: PipelineError | None
    input_tokens: int
    output_tokens: int


class LanguageModel:
    """One model, by `provider:name`; a context manager, used by one thread.

    With `base_url` it is that OpenAI-compatible server's model, whatever the provider is called. A
    limit that ends within `max_wait_seconds` is waited for.

    Raises:
        InvalidConfigError: the library, or what it needs for this provider, is not installed, or
            there is no such provider.
        CredentialError: the provider needs a key and there is none.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        max_wait_seconds: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if api_key:
            register_secret(api_key)
        self._name = model
        self._max_wait_seconds = max_wait_seconds
        self._sleep = sleep
        self._timeout_seconds = timeout_seconds
        self._model = _open(model, api_key=api_key, base_url=base_url)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._model.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._model.__aexit__(kind, error, trace))
        self._runner.close()

    def fill_in(
        self,
        form: type[FormT],
        *,
        instructions: str,
        material: Sequence[str | Picture],
        max_output_tokens: int,
    ) -> Reply[FormT]:
        """The form as the model fills it in, read from `material`; what goes wrong is in the reply.

        An answer that the form refuses is sent back once with what is wrong; blips and short limits
        are sat out.
        """
        input_tokens = output_tokens = 0
        for call in range(_CALLS):
            reply = self._runner.run(
                self._fill_in(form, instructions, material, max_output_tokens=max_output_tokens)
            )
            input_tokens += reply.input_tokens
            output_tokens += reply.output_tokens
            pause = self._pause_before_next(reply.error, call)
            if pause is None:
                break
            self._sleep(pause)
        return replace(reply, input_tokens=input_tokens, output_tokens=output_tokens)

    def _pause_before_next(self, error: PipelineError | None, call: int) -> float | None:
        """How long to wait before the same is asked again; None: it is not."""
        if call == _CALLS - 1 or isinstance(error, WrongAnswerError):
            return None
        if isinstance(error, RateLimitedError):
            pause = error.retry_after_seconds or _LIMIT_SECONDS
            return pause if pause <= self._max_wait_seconds else None
        if isinstance(error, SourceUnavailableError):
            return _FIRST_PAUSE_SECONDS * 2.0**call
        return None

    async def _fill_in(
        self,
        form: type[FormT],
        instructions: str,
        material: Sequence[str | Picture],
        *,
        max_output_tokens: int,
    ) -> Reply[FormT]:
        from pydantic_ai import Agent, BinaryContent, ModelSettings, RunUsage  # noqa: PLC0415

        agent = Agent(
            self._model,
            output_type=form,
            instructions=instructions,
            retries=TRIES - 1,
            model_settings=ModelSettings(
                max_tokens=max_output_tokens, timeout=self._timeout_seconds
            ),
        )
        parts = [
            BinaryContent(part.jpeg, media_type="image/jpeg") if isinstance(part, Picture) else part
            for part in material
        ]
        usage = RunUsage()
        answer: FormT | None = None
        error: PipelineError | None = None
        try:
            answer = (await agent.run(parts, usage=usage)).output
        except Exception as raised:  # noqa: BLE001 - the library trips over odd answers
            error = _error_for(raised, self._name)
        return Reply(answer, error, usage.input_tokens, usage.output_tokens)


def shrink_picture(data: bytes) -> Picture | None:
    """The picture (of a film: its first) no larger than PICTURE_PIXELS; None: it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB")
            small.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
            jpeg = io.BytesIO()
            small.save(jpeg, "JPEG", quality=80)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return Picture(jpeg.getvalue())


def _open(model: str, *, api_key: str | None, base_url: str | None) -> Model[Any]:
    provider_name, _, name = model.partition(":")
    try:
        from pydantic_ai.exceptions import UserError  # noqa: PLC0415
        from pydantic_ai.models import infer_model  # noqa: PLC0415
        from pydantic_ai.providers import infer_provider_class  # noqa: PLC0415
    except ImportError:
        raise InvalidConfigError(
            f"The language model {model} cannot be asked: its library is not installed.",
            advice="Install it where Dagster runs: pip install 'pipeline-assets[language-model]'.",
        ) from None
    try:
        if base_url is not None:
            return _open_compatible(name, api_key=api_key, base_url=base_url)
        provider_class = infer_provider_class(provider_name)
        keys = {"api_key": api_key} if api_key else {}
        provider = _without_retries(provider_class(**keys))
        return infer_model(model, provider_factory=lambda _: provider)
    except ImportError as error:
        raise InvalidConfigError(
            f"The language model {model} cannot be asked: {str(error)[:_MESSAGE_CHARACTERS]}",
            advice="Install what this provider needs, or give a base_url that speaks OpenAI's API.",
        ) from None
    except ValueError:
        raise InvalidConfigError(
            f"There is no provider of language models called {provider_name!r}.", advice=_ADVICE
        ) from None
    except UserError as error:
        raise CredentialError(
            f"The language model {model} cannot be asked: "
            f"{redact(str(error))[:_MESSAGE_CHARACTERS]}",
            advice="Give its api_key in the brand's sources.language_model.",
        ) from None


def _open_compatible(name: str, *, api_key: str | None, base_url: str) -> Model[Any]:
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

    # Without a key of its own, a server must not be sent the one that the environment has.
    provider = OpenAICompatibleProvider(
        "openai-compatible", base_url=base_url, api_key=api_key or "none"
    )
    return OpenAIChatModel(name, provider=_without_retries(provider))


def _without_retries(provider: ProviderT) -> ProviderT:
    """Most providers' clients try again by themselves, and sit out any Retry-After, hours too."""
    if hasattr(provider.client, "max_retries"):
        provider.client.max_retries = 0
    return provider


def _error_for(error: Exception, model: str) -> PipelineError:
    from pydantic_ai import exceptions as of_library  # noqa: PLC0415

    told = _told(error.__cause__ or error)
    if isinstance(error, of_library.ModelRateLimitError):
        return RateLimitedError(
            f"{model} takes no more calls for now ({told}).",
            retry_after_seconds=error.retry_after,
        )
    for kind, ours, words in (
        (of_library.ModelAuthenticationError, CredentialError, "does not accept our key"),
        (of_library.ModelQuotaExceededError, AccessError, "has no credit left for us"),
        (of_library.ModelNotFoundError, InvalidConfigError, "is not known there"),
        (of_library.ModelRequestRejectedError, SourceRejectedError, "calls our request wrong"),
        (of_library.UnexpectedModelBehavior, WrongAnswerError, "did not answer as it was asked to"),
    ):
        if isinstance(error, kind):
            return ours(f"{model} {words} ({told}).", advice=_ADVICE)
    if not isinstance(error, of_library.AgentRunError):
        return WrongAnswerError(
            f"{model} gave an answer that cannot be read ({type(error).__name__}: {told}).",
            advice=_ADVICE,
        )
    if isinstance(error, of_library.ModelHTTPError) and _is_refusal(error.status_code, told):
        return SourceRejectedError(f"{model} takes no such request ({told}).", advice=_ADVICE)
    return SourceUnavailableError(f"{model} did not answer ({told}).")


def _is_refusal(status: int, told: str) -> bool:
    """Whether it is what we sent that is refused, by a status that the library takes for trouble.

    Source: llama.cpp's server, 500 "image input is not supported" for a model that cannot see.
    """
    return status == 413 or (status == 500 and "image" in told)


def _told(error: BaseException) -> str:
    """What went wrong in words: of a form's many problems the first, without what was put in."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        told = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
        return told[:_MESSAGE_CHARACTERS]
    return redact(str(error))[:_MESSAGE_CHARACTERS]

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.language_model import API_KEY
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World
from pipeline_assets.sources.language_model import (
    LanguageModel,
    Picture,
    Reply,
    WrongAnswerError,
    shrink_picture,
)


class Entry(BaseModel):
    ad: int


class Form(BaseModel):
    ads: list[Entry]


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(World(accounts=(), tokens=())) as server:
        yield server


def ask(simulator: SimulatorServer, *, key: str | None = API_KEY, **options: Any) -> Reply[Form]:
    options = {"sleep": lambda _: None} | options
    with LanguageModel(
        "openai:small-1", api_key=key, base_url=f"{simulator.url}/v1", **options
    ) as model:
        return model.fill_in(
            Form,
            instructions="Count the ads.",
            material=['{"ad": 1}', picture(), '{"ad": 2}'],
            max_output_tokens=500,
        )


def picture() -> Picture:
    made = shrink_picture(png(1200, 900))
    assert made is not None
    return made


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (width, height)).save(data, "PNG")
    return data.getvalue()


def test_the_form_comes_back_filled_in_with_what_it_cost(simulator: SimulatorServer) -> None:
    reply = ask(simulator)
    assert reply.form == Form(ads=[Entry(ad=1), Entry(ad=2)])
    assert reply.error is None
    assert reply.input_tokens > 85
    assert reply.output_tokens > 0
    (call,) = simulator.language_model.calls
    assert (call.model, call.picture_count, call.max_tokens) == ("small-1", 1, 500)
    assert call.text == 'Count the ads.\n{"ad": 1}\n{"ad": 2}'


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (FaultKind.MODEL_REFUSED_KEY, CredentialError, "does not accept our key"),
        (FaultKind.MODEL_LIMIT, RateLimitedError, "takes no more calls"),
        (FaultKind.MODEL_NO_CREDIT, AccessError, "no credit left"),
        (FaultKind.MODEL_ERROR, SourceUnavailableError, "The server had an error"),
        (FaultKind.MODEL_REJECTED, SourceRejectedError, "Invalid image"),
        (FaultKind.MODEL_TOO_LARGE, SourceRejectedError, "Request too large"),
        (FaultKind.MODEL_BLIND, SourceRejectedError, "image input is not supported"),
        (FaultKind.MODEL_NO_CHOICES, WrongAnswerError, "cannot be read (IndexError: "),
        (FaultKind.MODEL_INVALID_JSON, WrongAnswerError, "Invalid JSON"),
        (FaultKind.MODEL_MISSING_AD, type(None), ""),
        (FaultKind.MODEL_CHATTING, WrongAnswerError, "did not answer as it was asked to"),
    ],
)
def test_each_trouble_has_its_error(
    simulator: SimulatorServer, fault: FaultKind, expected: type[PipelineError], words: str
) -> None:
    simulator.faults.add(Fault(kind=fault, seconds=0.01))
    reply = ask(simulator)
    assert type(reply.error) is expected
    assert words in str(reply.error)
    assert API_KEY not in str(reply.error)


def test_a_wrong_answer_is_sent_back_once_and_both_calls_are_counted(
    simulator: SimulatorServer,
) -> None:
    once = ask(simulator)
    simulator.faults.add(Fault(kind=FaultKind.MODEL_INVALID_JSON, count=1))
    twice = ask(simulator)
    assert twice.form == once.form
    assert twice.input_tokens > once.input_tokens * 1.5
    assert len(simulator.language_model.calls) == 3


def test_a_short_limit_is_waited_for_and_a_long_one_says_when_to_come_back(
    simulator: SimulatorServer,
) -> None:
    slept: list[float] = []
    simulator.faults.add(Fault(kind=FaultKind.MODEL_LIMIT, count=1, seconds=20))
    assert ask(simulator, sleep=slept.append).form is not None
    assert slept == [20]
    simulator.faults.add(Fault(kind=FaultKind.MODEL_LIMIT, count=1, seconds=120))
    error = ask(simulator, sleep=slept.append).error
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_seconds == 120
    assert slept == [20]


def test_a_blip_is_sat_out(simulator: SimulatorServer) -> None:
    slept: list[float] = []
    simulator.faults.add(Fault(kind=FaultKind.MODEL_ERROR, count=2))
    assert ask(simulator, sleep=slept.append).form is not None
    assert slept == [1, 2]


def test_a_model_that_is_too_slow_is_not_waited_for(simulator: SimulatorServer) -> None:
    simulator.faults.add(Fault(kind=FaultKind.MODEL_SLOW, seconds=0.5))
    assert isinstance(ask(simulator, timeout_seconds=0.1).error, SourceUnavailableError)


def test_a_server_without_a_key_of_its_own_is_not_sent_that_of_the_environment(
    simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    assert isinstance(ask(simulator, key=None).error, CredentialError)


def test_a_provider_without_a_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CredentialError, match="openai:small-1 cannot be asked") as missing:
        LanguageModel("openai:small-1", api_key=None, base_url=None)
    assert "api_key" in missing.value.advice


def test_a_provider_that_nobody_knows_says_so() -> None:
    with pytest.raises(InvalidConfigError, match="no provider of language models called 'nobody'"):
        LanguageModel("nobody:small-1", api_key="k", base_url=None)


def test_without_the_library_a_person_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.exceptions", None)
    with pytest.raises(InvalidConfigError, match="library is not installed") as missing:
        LanguageModel("openai:small-1", api_key="k", base_url=None)
    assert "pipeline-assets[language-model]" in missing.value.advice


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "I;16"])
def test_a_picture_is_sent_small_and_as_jpeg(mode: str) -> None:
    small = shrink_picture(png(1600, 400, mode))
    assert small is not None
    with Image.open(io.BytesIO(small.jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 128))


@pytest.mark.parametrize("data", [b"", b"<html>", png(64, 64)[:60]])
def test_what_is_no_picture_is_left_out(data: bytes) -> None:
    assert shrink_picture(data) is None

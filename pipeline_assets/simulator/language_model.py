"""A server that speaks OpenAI's chat completions: it fills in any form with plausible values.

It chooses by the words of what it is shown and never obeys them. Source: OpenAI API reference,
"Chat completions" (tools, response_format, usage, errors).
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from pipeline_assets.simulator.exchange import WireAnswer
from pipeline_assets.simulator.faults import Endpoint, FaultKind, Faults, faults_of

PATH = "/v1/chat/completions"
API_KEY = "sk-demo-language-model-3f8a1c"

_TOKENS_OF_PICTURE = 85
_CHARACTERS_OF_TOKEN = 4


_ERRORS = {
    FaultKind.MODEL_LIMIT: (429, "Rate limit reached", "rate_limit_exceeded"),
    FaultKind.MODEL_NO_CREDIT: (429, "You exceeded your current quota", "insufficient_quota"),
    FaultKind.MODEL_ERROR: (500, "The server had an error", "server_error"),
    FaultKind.MODEL_REJECTED: (400, "Invalid image", "invalid_image"),
    FaultKind.MODEL_TOO_LARGE: (413, "Request too large", "request_too_large"),
    FaultKind.MODEL_BLIND: (500, "image input is not supported", "server_error"),
}


@dataclass(frozen=True)
class ModelCall:
    """One call: all texts that came with it, and how many pictures."""

    model: str
    text: str
    picture_count: int
    max_tokens: int | None
    status: int


class LanguageModelServer:
    """The service; `calls` says what was asked."""

    def __init__(self, *, faults: Faults) -> None:
        self._faults = faults
        self._lock = threading.Lock()
        self.calls: list[ModelCall] = []

    def respond(self, headers: "Message[str, str]", body: bytes) -> WireAnswer:
        """The answer to a call of PATH."""
        asked = json.loads(body)
        texts, pictures = _shown(asked)
        fault = self._faults.take(faults_of("model"), None, Endpoint.LANGUAGE_MODEL)
        if fault and fault.kind is FaultKind.MODEL_BLIND and not pictures:
            fault = None
        kind = fault.kind if fault else None
        if fault and kind is FaultKind.MODEL_SLOW:
            time.sleep(fault.seconds)
        if (
            kind is FaultKind.MODEL_REFUSED_KEY
            or headers.get("Authorization") != f"Bearer {API_KEY}"
        ):
            answer = _error(401, "Incorrect API key provided", "invalid_api_key")
        elif fault and fault.kind in _ERRORS:
            answer = _error(*_ERRORS[fault.kind], retry_after=fault.seconds)
        else:
            answer = WireAnswer(200, json.dumps(_completion(asked, kind)).encode())
        call = ModelCall(
            model=asked["model"],
            text="\n".join(texts),
            picture_count=pictures,
            max_tokens=asked.get("max_completion_tokens") or asked.get("max_tokens"),
            status=answer.status,
        )
        with self._lock:
            self.calls.append(call)
        return answer


def _error(status: int, message: str, code: str, *, retry_after: float = 0) -> WireAnswer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    headers = (("Retry-After", f"{retry_after:g}"),) if status == 429 else ()
    return WireAnswer(status, json.dumps({"error": error}).encode(), headers)


def _completion(asked: Mapping[str, Any], fault: FaultKind | None) -> dict[str, Any]:
    texts, pictures = _shown(asked)
    tool, schema = _form(asked)
    filled = _Filler(schema, _ads(texts), fault).fill()
    text = json.dumps(filled)
    if fault is FaultKind.MODEL_INVALID_JSON:
        text = text[: len(text) // 2]
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if fault is FaultKind.MODEL_CHATTING:
        message["content"] = "Happy to help! Which ads do you mean?"
    elif tool is None:
        message["content"] = text
    else:
        call = {"name": tool, "arguments": text}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
    read = len(json.dumps(asked.get("tools", ""))) + sum(map(len, texts))
    prompt = read // _CHARACTERS_OF_TOKEN + pictures * _TOKENS_OF_PICTURE
    written = max(len(text) // _CHARACTERS_OF_TOKEN, 1)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
    }
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
    }
    has_usage = fault not in {FaultKind.MODEL_NO_USAGE, FaultKind.MODEL_NO_CHOICES}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": asked["model"],
        "choices": [] if fault is FaultKind.MODEL_NO_CHOICES else [choice],
        **({"usage": usage} if has_usage else {}),
    }


def _form(asked: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The tool that is to be called with the form (None: the form is the text), and its schema."""
    if asked.get("tools"):
        function = asked["tools"][0]["function"]
        return function["name"], function["parameters"]
    return None, asked["response_format"]["json_schema"]["schema"]


def _shown(asked: Mapping[str, Any]) -> tuple[list[str], int]:
    """Every text of the messages and the number of pictures."""
    texts: list[str] = []
    pictures = 0
    for message in asked["messages"]:
        content = message.get("content") or ""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                texts.append(part["text"])
            elif part["type"] == "image_url":
                pictures += 1
    return texts, pictures


def _ads(texts: list[str]) -> list[dict[str, Any]]:
    """The texts that are numbered ads."""
    return [json.loads(text) for text in texts if text.startswith('{"ad":')]


class _Filler:
    """Fills in a JSON schema: a list of objects has one for each ad."""

    def __init__(
        self, schema: dict[str, Any], ads: list[dict[str, Any]], fault: FaultKind | None
    ) -> None:
        self._schema, self._ads, self._fault = schema, ads, fault

    def fill(self) -> Any:
        return self._value(self._schema, {}, "")

    def _value(self, schema: dict[str, Any], ad: dict[str, Any], name: str) -> Any:
        schema = self._resolved(schema)
        value: Any = name
        if "enum" in schema:
            value = self._choice(schema["enum"], ad, name)
        elif schema.get("type") == "object":
            value = self._object(schema["properties"], ad, name)
        elif schema.get("type") == "array":
            value = self._array(schema["items"], ad, name)
        elif schema.get("type") == "integer":
            value = ad.get(name, 0)
        elif schema.get("type") == "number":
            value = round(_chance(ad, name).uniform(0.5, 0.95), 2)
        return value

    def _object(self, fields: dict[str, Any], ad: dict[str, Any], name: str) -> dict[str, Any]:
        """An object with a `value` is about what it is called; the fields of others are."""
        return {
            field: self._value(schema, ad, name if "value" in fields else field)
            for field, schema in fields.items()
        }

    def _array(self, items: dict[str, Any], ad: dict[str, Any], name: str) -> list[Any]:
        if self._resolved(items).get("type") != "object":
            return [f"body: {' '.join(str((ad.get('bodies') or ['?'])[0]).split()[:6])}"]
        shown = self._ads[:-1] if self._fault is FaultKind.MODEL_MISSING_AD else self._ads
        return [self._value(items, each, name) for each in shown]

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            resolved: dict[str, Any] = self._schema["$defs"][schema["$ref"].rpartition("/")[2]]
            return resolved
        return schema

    def _choice(self, values: list[str], ad: dict[str, Any], name: str) -> str:
        if self._fault is FaultKind.MODEL_WRONG_VOCABULARY:
            return "astonishing"
        words = json.dumps(ad).casefold()
        told = [value for value in values if value.replace("_", " ") in words]
        return told[0] if told else _chance(ad, name).choice(values)


def _chance(ad: dict[str, Any], name: str) -> random.Random:
    seed = hashlib.sha256(json.dumps([ad, name], sort_keys=True).encode()).hexdigest()
    return random.Random(seed)

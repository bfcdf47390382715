"""Every error that a person or the control plane can act on, split by what to do about it.

    PipelineError
    ├── TransientError                try again later (the control plane does)
    │   ├── RateLimitedError          a source's limit; carries the time to come back
    │   ├── SourceUnavailableError    a source timed out, answered 5xx, or answered something broken
    │   ├── TooManyBadItemsError      more than a fifth of a dataset's items could not be read
    │   ├── DatabaseUnavailableError  the database cannot be reached, or is locked by somebody else
    │   └── StorageFullError          no room for a write: free some, the next try goes on
    └── PermanentError                trying again changes nothing: a person has to act
        ├── CredentialError           a token is missing, expired, revoked or lacks its proof
        ├── AccessError               the token is fine but may not see this account or object
        ├── InvalidConfigError        a setting, a brand or a request that cannot work as written
        ├── SourceRejectedError       the source calls our request wrong
        ├── UpstreamFailed            what a dataset is made from is not there: it was not tried
        └── SupersededError           a newer attempt has already written this window

Anything else that is raised is a bug: it is retried like a transient error and shown as a bug.
A message names the brand, the dataset and the value seen; `advice` is the next step. Neither ever
holds a secret.
"""


class PipelineError(Exception):
    """Base of all errors meant for people: a message that stands alone and the next step.

    `advice` is one sentence in the imperative, or empty when the message already says it.
    """

    advice: str

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class TransientError(PipelineError):
    """Worth trying again; not before `retry_after_seconds` when the source said so."""

    retry_after_seconds: float | None

    def __init__(
        self, message: str, *, advice: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, advice=advice)
        self.retry_after_seconds = retry_after_seconds


class RateLimitedError(TransientError):
    """A limit of a source is reached; everybody who shares it waits."""


class SourceUnavailableError(TransientError):
    """A source did not answer, answered 5xx, or answered something that is not what it promises."""


class TooManyBadItemsError(TransientError):
    """So many items of a dataset could not be read that the rest would mislead."""


class DatabaseUnavailableError(TransientError):
    """The database cannot be reached or stayed locked for longer than we wait."""


class StorageFullError(TransientError):
    """The disk or bucket has no room; nothing was half written."""


class PermanentError(PipelineError):
    """Trying again changes nothing until a person acts."""


class CredentialError(PermanentError):
    """A token is missing, expired, revoked or not accepted."""


class AccessError(PermanentError):
    """The credentials are fine but do not reach this account or object."""


class InvalidConfigError(PermanentError):
    """A setting, a brand or a request cannot work as it is written."""


class SourceRejectedError(PermanentError):
    """The source calls the request itself wrong (an unknown field, an ended version, …)."""


class UpstreamFailed(PermanentError):  # noqa: N818 - it is the other dataset that has an error
    """A dataset was not tried because one that it is made from failed or was never synced well."""


class SupersededError(PermanentError):
    """A newer attempt has written the same window: this one's older rows are refused."""


def is_permanent(error_class: str) -> bool:
    """Whether an error of this class name is one that trying again cannot help.

    Whatever is not in the tree is a bug or a crash, and worth another try.
    """
    return error_class in _names_below(PermanentError)


def _names_below(parent: type[PipelineError]) -> set[str]:
    return {parent.__name__}.union(*map(_names_below, parent.__subclasses__()))

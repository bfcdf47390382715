import pytest

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.sources.meta.graph_failures import (
    GraphFailure,
    ObjectMissingError,
    TooMuchDataError,
    UnknownReportTroubleError,
    error_for,
    read_failure,
)


@pytest.mark.parametrize(
    ("code", "subcode", "expected"),
    [
        (-3, 1504045, TooMuchDataError),
        (-2, 2490547, SourceUnavailableError),
        (1, None, TooMuchDataError),
        (1, 99, TooMuchDataError),
        (1, 1, SourceUnavailableError),
        (2, None, SourceUnavailableError),
        (2, 1504038, TooMuchDataError),
        (2, 1504041, SourceRejectedError),
        (2, 1504042, SourceRejectedError),
        (2, 1504043, SourceUnavailableError),
        (2, 1504044, UnknownReportTroubleError),
        (3, None, AccessError),
        (4, 1504022, RateLimitedError),
        (10, 2332002, AccessError),
        (17, 2446079, RateLimitedError),
        (32, None, RateLimitedError),
        (100, None, SourceRejectedError),
        (100, 33, ObjectMissingError),
        (100, 1487534, TooMuchDataError),
        (100, 1504018, TooMuchDataError),
        (100, 3191001, AccessError),
        (102, None, CredentialError),
        (104, None, CredentialError),
        (190, 463, CredentialError),
        (200, None, AccessError),
        (294, None, AccessError),
        (341, None, RateLimitedError),
        (368, None, AccessError),
        (613, 1487742, RateLimitedError),
        (960, None, TooMuchDataError),
        (2500, None, SourceRejectedError),
        (2635, None, InvalidConfigError),
        (3018, None, SourceRejectedError),
        (80000, 2446079, RateLimitedError),
        (80014, None, RateLimitedError),
        (3910001, None, SourceUnavailableError),
        (987654, None, SourceRejectedError),
    ],
)
def test_each_code_becomes_the_error_that_says_what_to_do(
    code: int, subcode: int | None, expected: type[Exception]
) -> None:
    failure = GraphFailure(status=400, code=code, subcode=subcode)
    found = error_for(failure, subject="act_1")
    assert type(found) is expected
    assert "act_1" in str(found) or code == 2635


def test_the_text_of_an_error_never_decides() -> None:
    text = "Please reduce the amount of data you're asking for; session has expired"
    failure = GraphFailure(status=400, code=200, message=text)
    assert type(error_for(failure, subject="act_1")) is AccessError


def test_an_unknown_code_is_retried_only_when_meta_calls_it_transient_or_fails_itself() -> None:
    transient = GraphFailure(status=400, code=987654, is_transient=True)
    broken = GraphFailure(status=503, code=987654)
    assert type(error_for(transient, subject="act_1")) is SourceUnavailableError
    assert type(error_for(broken, subject="act_1")) is SourceUnavailableError


def test_a_missing_proof_is_a_matter_of_credentials() -> None:
    failure = read_failure(400, {"message": "m", "code": 100, "type": "GraphMethodException"})
    assert type(error_for(failure, subject="act_1")) is CredentialError


def test_an_expired_token_says_so_and_what_to_do() -> None:
    found = error_for(GraphFailure(status=400, code=190, subcode=463), subject="act_7")
    assert str(found) == ("Meta refuses the token used for act_7: it has expired (code 190/463).")
    assert found.advice.startswith("Make a new token")


def test_missing_and_odd_members_of_an_error_do_not_matter() -> None:
    failure = read_failure(
        400, {"code": "17", "error_subcode": "2446079", "error_data": "{broken", "message": None}
    )
    assert failure.codes == "17/2446079"
    assert read_failure(500, "oops").codes == "HTTP 500"


def test_a_secret_in_metas_words_is_masked() -> None:
    failure = GraphFailure(status=400, code=100, message="bad access_token=EAAabcdefghijklmnop1")
    assert "EAAabc" not in str(error_for(failure, subject="act_1"))

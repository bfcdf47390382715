"""Visits to scripted servers, under as many host names as a test wants."""

from collections.abc import Callable

import pytest

from pipeline_assets.sources.public_http import PublicHttp
from pipeline_assets.sources.web_pages import PageVisit, visit_pages

Visit = Callable[..., dict[str, PageVisit]]


class Naps:
    """What was slept, at once over: for a while of real time nobody waits."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(round(seconds, 1))


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def visit(scripted_server, naps) -> Visit:
    """Visits paths of the server, by path; `hosts` are names that lead to it too."""

    def run(*paths: str, hosts: tuple[str, ...] = ()) -> dict[str, PageVisit]:
        allowed = {scripted_server.host_and_port}
        allowed |= {f"{host}:{scripted_server.port}" for host in hosts}
        with PublicHttp(allow_private_hosts=allowed, resolve=lambda _: ["127.0.0.1"]) as http:
            urls = [path if "://" in path else scripted_server.url(path) for path in paths]
            visits = {each.url: each for each in visit_pages(http, urls, sleep=naps)}
        assert len(visits) == len(urls)
        return {path: visits[url] for path, url in zip(paths, urls, strict=True)}

    return run

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import requests

from pipeline_assets.redaction import MASK, redact
from pipeline_assets.simulator.demo import DEMO_BRANDS, DEMO_FAULTS, build_demo_world
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AdKind

TODAY = date(2026, 11, 21)


@pytest.fixture
def demo(start_server: Callable[..., SimulatorServer]) -> SimulatorServer:
    return start_server(build_demo_world(TODAY), faults=DEMO_FAULTS)


def test_acme_is_healthy_with_every_kind_of_ad(
    demo: SimulatorServer, connect: Callable[..., Any]
) -> None:
    acme = connect(demo, token=DEMO_BRANDS[0].token)
    assert tuple(each["id"] for each in acme.data("me/adaccounts")) == DEMO_BRANDS[0].ad_accounts
    kinds = Counter(ad.kind for ad in demo.world.accounts["act_1001"].ads)
    assert (kinds[AdKind.BOOSTED_POST], kinds[AdKind.LEAD_FORM]) == (1, 1)
    assert min(kinds[kind] for kind in AdKind) == 1
    assert kinds[AdKind.VIDEO] >= 4
    rows = acme.data("act_1001/insights", level="ad", date_preset="last_28d", limit=100)
    assert len(rows) >= 20
    texts = {
        each["body"] for each in acme.data("act_1001/adcreatives", fields="body") if "body" in each
    }
    assert len(texts) >= 8


def test_globex_is_throttled_once_on_its_first_insights_call(
    demo: SimulatorServer, connect: Callable[..., Any]
) -> None:
    globex = connect(demo, token=DEMO_BRANDS[1].token)
    assert globex.get("act_2001/ads").status_code == 200
    assert globex.error("act_2001/insights") == (400, 17, 2446079)
    assert globex.get("act_2001/insights").status_code == 200


def test_initechs_token_has_expired(demo: SimulatorServer, connect: Callable[..., Any]) -> None:
    initech = connect(demo, token=DEMO_BRANDS[2].token)
    assert initech.error("act_3001/insights") == (400, 190, 463)


def test_the_past_does_not_depend_on_the_day_the_demo_starts() -> None:
    earlier, later = build_demo_world(TODAY), build_demo_world(date(2026, 12, 9))
    ad_id, day = earlier.accounts["act_1001"].ads[2].id, date(2026, 10, 4)
    now = datetime(2026, 12, 10, tzinfo=UTC)
    figures = [world.metrics("act_1001", ad_id, day, now=now) for world in (earlier, later)]
    assert figures[0] == figures[1] is not None


def test_tokens_are_shaped_so_that_logs_mask_them_and_show_in_no_repr() -> None:
    for brand in DEMO_BRANDS:
        assert redact(f"token {brand.token}") == f"token {MASK}"
        assert brand.token not in repr(brand)


def test_the_command_says_its_address_serves_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "pipeline_assets.simulator", "--port", "0", "--world", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        token = {"access_token": DEMO_BRANDS[0].token}
        with requests.Session() as session:  # kept alive: the end must not wait for it
            assert session.get(f"{url}/v26.0/me", params=token, timeout=5).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
    assert line.startswith("Simulated Graph API at http://127.0.0.1:")

"""The documentation says what the code does."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from pipeline_assets.settings import Settings

PROJECT = Path(__file__).parents[2]
PAGES = ("commands.md", "datasets.md", "settings.md")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_pages_are_what_make_docs_writes(generate: ModuleType, page: str) -> None:
    assert (PROJECT / "docs" / page).read_text() == generate.pages()[page]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readmes_commands_exist() -> None:
    text = (PROJECT / "README.md").read_text()
    targets = set(re.findall(r"`?make (\w+)", text))
    makefile = (PROJECT / "Makefile").read_text()
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_no_file_names_a_package_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], check=True, cwd=PROJECT, capture_output=True, text=True
    )
    files = listed.stdout.split()
    assert files
    registry = re.compile("py" + r"pi\.org|python" + r"hosted|npm" + r"js\.(org|com)")
    for name in files:
        data = (PROJECT / name).read_bytes()
        assert not registry.search(data.decode(errors="ignore")), name


def test_the_lock_files_are_plain_pins_of_the_same_versions() -> None:
    pins = {}
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (PROJECT / name).read_text().split("\n")
        assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in lines if line), name
        pins[name] = dict(line.split("==") for line in lines if line)
    runtime, development = pins.values()
    assert runtime.items() <= development.items()

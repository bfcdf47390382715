# Every target sets itself up: it needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOPMENT_READY := $(VENV)/.development-ready

# Plain name==version lines that fit the oldest Python that we support, without any index's address.
LOCK_OPTIONS := --quiet --upgrade --python-version 3.11 --python-platform linux --no-header --no-annotate --no-emit-index-url

# A virtual environment holds absolute paths: in a moved folder it is made anew.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell cat $(READY)),$(CURDIR))
$(shell rm -rf $(VENV))
endif
endif

.PHONY: run demo setup test check docs lock clean

run: $(READY) ## everything with the demo brands synced, and where to look; until Ctrl-C
	@$(BIN)/pipeline-assets demo --stay

demo: $(READY) ## sync the demo brands, show how fresh they are: 0 only if the outcome is the expected one
	@$(BIN)/pipeline-assets demo

setup: $(READY) ## the virtual environment, .env, DAGSTER_HOME and the database
	@$(BIN)/pipeline-assets setup

test: $(DEVELOPMENT_READY) ## all tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(DEVELOPMENT_READY) ## what must hold before tests: style, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(READY) ## write the reference pages that follow from the code
	@$(BIN)/python docs/generate.py

lock: $(READY) ## write both lock files anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml $(LOCK_OPTIONS) --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev $(LOCK_OPTIONS) --constraints requirements.lock --output-file requirements-dev.lock

clean: ## remove the virtual environment; data in .dagster stays
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/python requirements.lock pyproject.toml dagster_command.pth
	@echo 'Installing what requirements.lock names, once (a minute or two) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@cp dagster_command.pth $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	@echo '$(CURDIR)' > $@

$(DEVELOPMENT_READY): $(READY) requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

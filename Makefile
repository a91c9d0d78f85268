# The one door. `make` lists what there is; each target sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 3
# Not compiled: Python does that for what is imported, when it first is.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ---------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Pinxit needs Python 3.11 or newer as '$(PYTHON)': install the package python3, or name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing: install the package python3-venv (Debian, Ubuntu)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing Pinxit into $(VENV) …"
	@$(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "Installing the tools for development …"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: install
install: $(VENV)/.runtime  ## install Pinxit into .venv

.PHONY: oidc
oidc: $(VENV)/.runtime  ## install what signing in by OpenID Connect needs, for `oidc`
	@$(PIP) --require-hashes -r requirements/oidc.txt

.PHONY: postgres
postgres: $(VENV)/.runtime  ## install the driver for PostgreSQL too, for `database_url`
	@$(PIP) --require-hashes -r requirements/postgres.txt

.PHONY: dev
dev: $(VENV)/.dev  ## install Pinxit and the tools for development into .venv

# --- the main job ---------------------------------------------------------------------------------------------------

.PHONY: serve
serve: $(VENV)/.runtime  ## start the server on 127.0.0.1:8000 (ARGS="--port 9000" …)
	@exec $(BIN)/pinxit serve $(ARGS)

# --- tests ----------------------------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.dev  ## all tests, JOBS=3 files at a time (ARGS="-k otter" …)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.dev  ## the tests that need no server process and no model
	@$(BIN)/python -m pytest tests/unit tests/contracts tests/wire tests/docs $(ARGS)

.PHONY: test-long
test-long: $(VENV)/.dev  ## all tests, the long forms too
	@PINXIT_TEST_LONG=1 $(BIN)/python -m pytest --timeout 3600 $(ARGS)

.PHONY: test-clients
test-clients: $(VENV)/.dev  ## clients that people have, unchanged, against a real server; writes docs/clients.md
	@PINXIT_TEST_LONG=1 PINXIT_REQUIRE_ALL=1 PINXIT_WRITE_CLIENTS=1 $(BIN)/python -m pytest tests/clients $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev  ## what group commit is worth on this disk (ARGS="--sync-milliseconds 4" …)
	@$(BIN)/python bench/group_commit.py $(ARGS)

LITELLM := build/bench/litellm

$(LITELLM)/.ready: bench/gateway/litellm.in
	@$(PYTHON) -m venv $(LITELLM)
	@$(LITELLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r $<
	@touch $@

.PHONY: bench-gateway
bench-gateway: $(VENV)/.dev $(LITELLM)/.ready  ## Pinxit beside LiteLLM, nginx and the bare upstream (needs cc, wrk, nginx)
	@$(BIN)/python bench/gateway/compare.py $(ARGS)

.PHONY: check
check: $(VENV)/.dev  ## format, lint, strict types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(VENV)/.dev  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: snapshots
snapshots: $(VENV)/.dev  ## write the wire snapshots and the OpenAPI document anew: read the diff as an API change
	@PINXIT_WRITE_SNAPSHOTS=1 $(BIN)/python -m pytest tests/wire tests/docs/test_providers_page.py $(ARGS)

# --- upstream providers ---------------------------------------------------------------------------------------------

.PHONY: new-provider
new-provider: $(VENV)/.dev  ## begin an upstream provider: its file and its simulation (NAME=acme)
	@$(BIN)/python tests/upstreams/new_provider.py $(NAME)

.PHONY: record
record: $(VENV)/.dev  ## paint one picture at a live provider and keep what it said (PROVIDER=openai; costs its price)
	@$(BIN)/python tests/upstreams/record.py $(PROVIDER) $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.dev  ## take the pictures of the console in docs/images anew (needs the program chromium)
	@$(BIN)/python docs/images/screenshots.py

# --- the model in the box -----------------------------------------------------------------------------------------------

TRAINING := .venv-otter
OTTER = PYTHONPATH=otter/src:src:. $(TRAINING)/bin/python -m otter.training
MINUTES ?= 150

$(TRAINING)/.ready: otter/training/requirements-256.txt
	@$(PYTHON) -m venv $(TRAINING)
	@$(TRAINING)/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r $<
	@touch $@

.PHONY: otter-data
otter-data: $(TRAINING)/.ready  ## collect the drawings otter-1 learns from into build/otter (needs npm; ten minutes)
	@$(OTTER).data.build $(ARGS)

.PHONY: otter-train
otter-train: $(TRAINING)/.ready  ## train the next otter-1, or go on with it, for MINUTES=150 (needs otter-data)
	@nice -n 19 $(OTTER).train256 all --minutes $(MINUTES) $(ARGS)

.PHONY: otter-evaluate
otter-evaluate: $(TRAINING)/.ready  ## measure what was trained
	@$(OTTER).evaluate256 $(ARGS)

# --- upkeep ---------------------------------------------------------------------------------------------------------

COMPILE = $(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --quiet

.PHONY: requirements
requirements: $(VENV)/.dev  ## compile all pins anew, with hashes (UPGRADE=--upgrade for newer versions)
	@$(PIP) uv
	@for set in build runtime oidc postgres dev; do UV_CUSTOM_COMPILE_COMMAND="make requirements" $(COMPILE) $(UPGRADE) requirements/$$set.in -o requirements/$$set.txt; done
	@$(BIN)/python tests/clients/environments.py $(UPGRADE)

.PHONY: clean
clean:  ## remove .venv and caches; ./data stays
	@rm -rf $(VENV) .clients .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

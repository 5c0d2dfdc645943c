# Berth. `make up` is all a new machine needs: Python 3.11 or newer, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export BERTH_PORT ?= 8000
export BERTH_DATA_DIR ?= ./data
# Where it is set, each start compiles what pip has left uncompiled: four seconds for a panel, ten for a worker of the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help up demo web worker reconciler install install-dev test check lint types imports format test-real test-services \
	test-browser test-parts accept llama-server bench clean

help: ## What can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ── run ──────────────────────────────────────────────────────────────────────
up: install ## Start the panel on 127.0.0.1:$(BERTH_PORT), everything in one process
	@exec $(BIN)/python manage.py up

demo: install ## Start a simulated fleet on its own port (8001) and database
	@BERTH_DEMO=1 BERTH_PORT=$${BERTH_DEMO_PORT:-8001} BERTH_DATA_DIR=$${BERTH_DEMO_DATA_DIR:-./demo-data} \
		exec $(BIN)/python manage.py up

web: install ## Grown up: one web process (needs DATABASE_URL and REDIS_URL)
	@exec $(BIN)/python manage.py web

worker: install ## Grown up: one worker
	@exec $(BIN)/python manage.py worker

reconciler: install ## Grown up: the reconciler, which also samples this machine
	@exec $(BIN)/python manage.py reconciler

# ── install ──────────────────────────────────────────────────────────────────
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Berth needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing what the panel needs (once, about half a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing what the tests and checks need (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt -c constraints.txt
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

# ── test ─────────────────────────────────────────────────────────────────────
UNMARKED := not real and not browser and not services and not ollama and not gpu
# The folders whose tests use the database.
INTEGRATION := $(wildcard $(addprefix tests/,accounts agent_link alerts api catalog inventory operations plans runtime telemetry web))
# To collect these takes as long as to collect all others; none of them needs more than a database.
GENERATED := tests/api/test_any_request_is_answered_as_described.py

test: install-dev ## The tests that need nothing but Python and a C compiler
	@$(BIN)/python -m pytest -m "$(UNMARKED)" $(PYTEST_ARGS)

test-services: install-dev ## The tests that use the database once more on PostgreSQL and Redis, thrown away afterwards
	@$(BIN)/python -m tests.services $(BIN)/python -m pytest --reuse-db -m "database and $(UNMARKED)" $(INTEGRATION) $(PYTEST_ARGS)

test-real: test-services test-browser test-parts ## A real llama-server, a browser, PostgreSQL and Redis

test-browser: install-dev ## Of these, what needs a browser or several processes, and no llama-server
	@$(BIN)/python -m pytest -m "(browser or services) and not real" --ignore $(GENERATED) $(PYTEST_ARGS)

test-parts: install-dev llama-server ## Of these, what needs a real llama-server, or to be root
	@$(BIN)/python -m pytest -m real --ignore $(GENERATED) $(PYTEST_ARGS)

accept: install-dev llama-server ## Load, swap and unload a 500 MB model by clicking, and measure
	@$(BIN)/python -m tests.acceptance

llama-server: install-dev ## Build a real llama-server into .cache (once, about three minutes)
	@$(BIN)/python tools/build_llama_server.py

check: lint types imports ## Lint, types and imports

lint: install-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install-dev
	@$(BIN)/mypy

imports: install-dev
	@$(BIN)/lint-imports

format: install-dev ## Format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

BENCHMARKS := verified_load swap sample_to_dom list_endpoints history start_up estimate_accuracy gguf_reader probe_cost
bench: install-dev llama-server ## Every benchmark, one after the other
	@failed=0; for name in $(BENCHMARKS); do echo "── $$name"; $(BIN)/python -m benchmarks.$$name || failed=1; done; exit $$failed

clean: ## Remove the virtual environment and caches; the data folder stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

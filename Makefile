# Two commands do all the set-up: `make run` and `make test`. Both need Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test power-loss-test lint format types bench-small bench-rows lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: .venv/run.stamp ## Install what the service needs, start it and print its address
	@$(BIN)/python -m aggsvc

test: .venv/dev.stamp ## Install what the tests need and run them
	$(BIN)/python -m pytest

power-loss-test: .venv/dev.stamp ## Lose the power at every step of 20 scripted runs of the stores
	POWER_LOSS_RUNS=20 $(BIN)/python -m pytest --timeout 600 tests/mocks/test_power_loss.py

lint: .venv/dev.stamp ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev.stamp ## Check the types
	$(BIN)/mypy

bench-small: .venv/dev.stamp ## Small files a second, with 500 records stored and with 50,000
	$(BIN)/python -m bench.small_files

bench-rows: .venv/dev.stamp ## The row lane against a csv.DictReader loop on 10 million rows
	$(BIN)/python -m bench.row_lane

lock: ## Resolve the newest versions into the lock files (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade --custom-compile-command "make lock" \
	  pyproject.toml .ci/build.in -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade --custom-compile-command "make lock" -c requirements.lock \
	  --extra dev pyproject.toml .ci/build.in -o requirements-dev.lock

clean: ## Remove the virtual environment and caches (never ./tmp, which holds your files)
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "aggsvc needs Python 3.11 or newer; say which: make PYTHON=python3.12 run" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Stamps, so that a second `make run` installs nothing and starts at once.
.venv/run.stamp: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Two commands do all the set-up: `make run` and `make test`. Both need Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test screenshots lint format types bench bench-memory bench-small crash-test
.PHONY: overload-test audit fuzz-test hang-up-test power-loss-test lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: .venv/run.stamp ## Install what the service needs, start it and print its address
	@$(BIN)/python -m aggsvc

TEST_PROCESSES ?= 2
test: .venv/dev.stamp ## Install what the tests need and run them
	$(BIN)/python -m pytest -m "not alone" -n $(TEST_PROCESSES)
	$(BIN)/python -m pytest -m alone

overload-test: .venv/dev.stamp ## Offer ten times the work that can be done, for a minute
	OVERLOAD_SECONDS=60 $(BIN)/python -m pytest -s --timeout=600 tests/process/test_overload.py

hang-up-test: .venv/dev.stamp ## Hang up 1,000 times in each of 32 ways
	HANG_UPS=1000 $(BIN)/python -m pytest --timeout=1800 tests/process/test_hang_ups.py

fuzz-test: .venv/dev.stamp ## Have Schemathesis make 2,000 requests and more, after the API's own description
	FUZZ_EXAMPLES=200 $(BIN)/python -m pytest -s --timeout=1800 tests/fuzz/test_schemathesis.py

power-loss-test: .venv/dev.stamp ## Lose the power at every step of 20 scripted runs of the stores
	POWER_LOSS_RUNS=20 $(BIN)/python -m pytest --timeout 600 tests/mocks/test_power_loss.py

screenshots: .venv/dev.stamp ## Write each page in both themes and at 360 px to docs/images
	$(BIN)/python docs/images/make.py

lint: .venv/dev.stamp ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev.stamp ## Check the types
	$(BIN)/mypy

bench: .venv/bench.stamp ## Against DuckDB, Polars and csv.DictReader, and over HTTP (10 million rows)
	$(BIN)/python -m bench

bench-memory: .venv/run.stamp ## Peak memory of the engine, 100 million rows against 10 million
	$(BIN)/python -m bench.memory

bench-small: .venv/run.stamp ## Small files a second, with 500 records stored and with 50,000
	$(BIN)/python -m bench.small_files

KILLS ?= 1000
crash-test: .venv/dev.stamp ## Kill the service KILLS=1000 times amid uploads; nothing may be lost
	$(BIN)/python -m tests.process.crash_loop --kills $(KILLS)

PIP_AUDIT ?= pip-audit
audit: ## Look the locked versions up among known vulnerabilities (needs pip-audit and the network)
	@command -v $(PIP_AUDIT) > /dev/null || { echo "make audit needs pip-audit, which is not locked here:" \
	  "pipx install pip-audit, or make audit PIP_AUDIT=/path/to/pip-audit" >&2; exit 1; }
	@for lock in requirements.lock requirements-dev.lock requirements-bench.lock; do \
	  $(PIP_AUDIT) --progress-spinner off --strict --require-hashes --disable-pip -r $$lock \
	  || { echo "make audit: $$lock has known vulnerabilities, or could not be looked up" >&2; exit 1; }; \
	done

lock: ## Resolve the newest versions into the lock files (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade --custom-compile-command "make lock" \
	  pyproject.toml .ci/build.in -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade --custom-compile-command "make lock" -c requirements.lock \
	  --extra dev pyproject.toml .ci/build.in -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade --custom-compile-command "make lock" -c requirements.lock \
	  --extra bench pyproject.toml .ci/build.in -o requirements-bench.lock

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
	$(BIN)/python -c 'from aggsvc.engine import load_engine; load_engine("auto", 1)'  # compiles it
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.venv/bench.stamp: requirements-bench.lock .venv/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

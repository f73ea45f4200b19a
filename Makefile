# Each target does its own set-up: a .venv at the root, made once from
# requirements.lock and used again until that file changes.
BIN := .venv/bin

export PYTHON

.PHONY: setup up test demo bench loadtest soak mutants check lock

setup: ## only the set-up
	@.ci/setup

up: setup ## the whole system on embedded servers, in the foreground
	@exec $(BIN)/holdfast up --demo-sale

test: setup ## the whole test suite on real embedded servers, with coverage
	@tests/run

demo: setup ## sell out a flash sale over HTTP and print the result
	@exec $(BIN)/holdfast demo

bench: setup ## its own figures beside their limits and a conventional service
	@exec $(BIN)/holdfast bench

loadtest: setup ## Locust's buyers on a system of its own, then the books; reports in build/loadtests
	@exec $(BIN)/python -m loadtests

soak: setup ## the long fault runs, by seed, with a report: docs/soak-report.md
	@exec $(BIN)/python -m tests.soak
	@$(BIN)/python -m tests.simulation --seconds 240
	@$(BIN)/python -m pytest -q -s tests/soak/short_histories.py
	@$(BIN)/python -m tests.soak.keep_up
	@$(BIN)/python -m tests.soak.subscribers
	@$(BIN)/python -m tests.soak.million

mutants: setup ## planted bugs, each with the test that goes red for it
	@exec $(BIN)/python -m tests.mutants

check: setup ## everything static: format, lint, types, architecture, Lua, SQL
	@$(BIN)/python -m tests.checks

lock: ## resolve requirements.lock and deploy/requirements.lock again
	@.ci/lock

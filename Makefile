# Needs python3 (3.11 or newer), npm and make. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CLICKHOUSE := tests/node_modules/.package-lock.json
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install run test torture mutants lint bench lock image system strace
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

install: $(INSTALLED) ## install everything the service needs into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# The ClickHouse server that tests and benchmarks talk to.
$(CLICKHOUSE): tests/package.json tests/package-lock.json
	cd tests && npm ci --no-audit --no-fund
	@touch $@

run: $(INSTALLED) ## run the service on http://127.0.0.1:8080/ (settings: environment, or .env)
	@if [ -f .env ]; then set -a; . ./.env; set +a; fi; exec $(BIN)/fanfinity serve

# Without strace the test that holds the recorder of system calls against what it sees is skipped, by name.
strace:
	@if command -v strace; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get; then \
		apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends strace || \
		echo 'strace could not be installed' >&2; \
	else echo 'no strace found: install it to hold the recorder of system calls against it' >&2; fi

# Four processes, also on two cores: tests wait more than they work. A file stays with one, for what its tests share.
# Those that take long begin first (tests/conftest.py), not those with the most tests.
test: $(INSTALLED) $(CLICKHOUSE) strace ## run all tests, against a real ClickHouse, with coverage
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=xml
	$(BIN)/python -m coverage report --include='shards/*' --fail-under=90

# How long, and what to repeat: make torture MINUTES=30 SEED=1
torture: $(INSTALLED) $(CLICKHOUSE) ## cause every fault under load for MINUTES (8), and count what is lost
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),8) $(if $(SEED),--seed $(SEED)) --report

# How many places, which ones, which files: make mutants SAMPLE=600 SEED=1 ONLY=shards/wal; aimed at promises: make mutants AIMED=1
mutants: $(INSTALLED) $(CLICKHOUSE) ## change the core in SAMPLE (600) places, one at a time, and count what no test notices
	$(BIN)/python -m tests.mutants $(if $(AIMED),--aimed,--sample $(or $(SAMPLE),600) --seed $(or $(SEED),1)) \
		$(if $(ONLY),--only $(ONLY),--report)

lint: $(INSTALLED) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) $(CLICKHOUSE) ## measure throughput, latency and freshness
	$(BIN)/python -m tests.bench

# Extras stay in the lock: pip does not take `coverage==…` for a pin of `coverage[toml]` once there is a newer release.
# Images take the same versions, but only what they need: what builds the wheel, the service, and the embedded engine with it.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-strip-extras --python-version 3.11
lock: $(INSTALLED) ## write the locks anew, with the newest versions allowed
	$(PIP) install 'uv>=0.9'
	$(COMPILE) --upgrade --extra embedded --extra providers --group dev pyproject.toml -o requirements.lock
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(COMPILE) -c requirements.lock - -o docker/locks/build.lock
	$(COMPILE) -c requirements.lock pyproject.toml -o docker/locks/slim.lock
	$(COMPILE) -c requirements.lock --extra embedded pyproject.toml -o docker/locks/full.lock

# Both images, with commit and version as labels; what DOCKER=podman or DOCKER_OPTIONS=--network=host asks for besides.
DOCKER ?= docker
COMMIT := $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image: ## build the images fanfinity:slim and fanfinity:full
	for target in slim full; do \
		$(DOCKER) build $(DOCKER_OPTIONS) --file docker/Dockerfile --target $$target --tag fanfinity:$$target \
			--build-arg COMMIT=$(COMMIT) --build-arg VERSION=$(VERSION) . || exit 1; \
	done

# Starts a container engine of its own, and ends it, which needs root on Linux. Installs what it lacks on Debian.
system: $(INSTALLED) $(CLICKHOUSE) ## run what needs a container engine, proxies, Prometheus or a browser
	sh tests/system/install
	$(BIN)/python -m pytest tests/system -n0 --timeout=900

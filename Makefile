# The commands of this project, for people and for continuous integration.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# dvc runs `python` from PATH: this puts the virtual environment first. uv installs into VIRTUAL_ENV.
export PATH := $(abspath $(BIN)):$(PATH)
export VIRTUAL_ENV := $(abspath $(VENV))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# As pip does: where PYTHONDONTWRITEBYTECODE is set, each import of TensorFlow would take 4 s more.
export UV_COMPILE_BYTECODE := 1
# What installs: uv if it is there, else pip.
PIP ?= $(if $(shell command -v uv),uv pip,$(BIN)/python -m pip)
# The lock files are complete: without a resolver, pip takes the pinned versions and no newer ones.
PIP_INSTALL := $(PIP) install --quiet --require-hashes --no-deps
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-strip-extras --python-version 3.10 \
	--no-header --no-annotate pyproject.toml
# What `make report` and `make compare` compare HEAD with.
BASE ?= main
# The number of seeds of `make seeds`, experiments of `make search`, and seeds of `make compare`.
N ?= 5
SEEDS ?= 5
# What `make workers` trains, and with how many processes.
STAGE ?= train_mnist
WORKERS ?= 2
# The port of `make serve`.
PORT ?= 8000
# TensorFlow.js, for the page; the tests run without it if there is no npm.
TENSORFLOW_JS := web/node_modules/.package-lock.json
# The number of damaged inputs per reader in `make fuzz`, and of kills per stage in `make chaos`.
CASES ?= 20000
MOMENTS ?= 20

.DEFAULT_GOAL := help
.PHONY: help repro metrics experiments report seeds compare search smoke cards workers serve \
	release test test-long test-web test-distributed test-all fuzz chaos bench lint format \
	verify verify-here lock audit notice install clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

repro: $(VENV)/installed ## Run every stage that is not up to date, show the metrics
	@git rev-parse --verify HEAD > /dev/null 2>&1 || \
		{ echo "error: git: no commit, and DVC needs one. Run git init && git add --all && git commit"; exit 1; }
	dvc repro
	@dvc status --quiet || { echo "error: .dvc/cache: outputs are missing, see \`dvc status\` (got a full" \
		"disk?). Free disk space, then run \`dvc commit && make repro\`"; exit 1; }
	@$(MAKE) --no-print-directory metrics

metrics: $(VENV)/installed ## Show the metrics
	@python -m tools cards results

experiments: $(VENV)/installed ## Show the experiments of all commits
	@python -m tools experiments

report: $(VENV)/installed ## Compare HEAD with BASE, in report.md (BASE=main)
	python -m tools report $(BASE) HEAD report.md

seeds: $(VENV)/installed ## Train HEAD with several seeds, show mean and spread (N=5)
	python -m tools seeds $(N)

compare: $(VENV)/installed ## Train BASE and HEAD with the same seeds (BASE=main SEEDS=5)
	python -m tools seeds $(SEEDS) $(BASE)

search: $(VENV)/installed-dev ## Search for params of the letters, on validation (N=5)
	@python -m tools search $(N)

smoke: $(VENV)/installed ## Run the whole pipeline on a few images, in a minute
	@python -m tools smoke

cards: $(VENV)/installed ## Write the current figures into the cards and the README
	@python -m tools cards

workers: $(VENV)/installed ## Train with several processes (STAGE=train_mnist WORKERS=2)
	@python -m tools workers $(WORKERS) $(STAGE) $(OPTIONS)

serve: $(VENV)/installed $(TENSORFLOW_JS) ## Serve the page that people draw on (PORT=8000)
	@dvc repro export_web
	@python -m tools serve $(PORT)

release: repro $(TENSORFLOW_JS) ## Build the files that others use without training, in release/
	@python -m tools release

test: $(VENV)/installed-dev $(if $(shell command -v npm),$(TENSORFLOW_JS)) ## Run the tests, offline, on small data (OPTIONS=--cov)
	python -m pytest $(OPTIONS)

test-long: $(VENV)/installed-dev ## Run the tests that make test leaves out because they are slow
	python -m pytest -m long $(OPTIONS)

test-web: $(VENV)/installed-dev $(TENSORFLOW_JS) ## Draw in a browser, for the trained classifiers
	dvc repro export_web
	python -m pytest -n 2 -m web tests/web $(OPTIONS)

test-distributed: $(VENV)/installed-dev ## Test a Ray cluster, workers and a remote, on this machine
	python -m pytest -n 2 --dist loadfile tests/distributed $(OPTIONS)

test-all: test test-long test-web test-distributed ## Run all tests, a few minutes of fuzz and chaos included
	$(MAKE) fuzz CASES=200
	$(MAKE) chaos MOMENTS=1

fuzz: $(VENV)/installed-dev ## Try damaged inputs on each reader (CASES=20000)
	CASES=$(CASES) python -m pytest -m fuzz tests/reliability $(OPTIONS)

chaos: $(VENV)/installed-dev ## Kill stages and DVC, compare the results (MOMENTS=20)
	MOMENTS=$(MOMENTS) python -m pytest -m chaos tests/reliability $(OPTIONS)

bench: $(VENV)/installed-dev ## Measure docs/performance.md again (OPTIONS=--quick)
	python -m pytest -n 0 tests/benchmarks -o python_files='bench_*.py' -W default \
		--benchmark-autosave $(OPTIONS)

lint: $(VENV)/installed-dev ## Check style, types, imports, dependencies and workflows
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache --no-logo
	$(PIP) check
	! grep -nE 'https?://|file:' requirements*.txt
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --quiet --offline .github/workflows

format: $(VENV)/installed-dev ## Format the code
	ruff check --fix .
	ruff format .

verify: $(VENV)/installed ## Compare HEAD with a fresh clone, reproduced (SKIP=STAGE)
	python -m tools verify $(SKIP)

verify-here: $(VENV)/installed ## After make repro: evaluate again, compare with HEAD (SKIP=STAGE)
	python -m tools verify --here $(SKIP)

lock: $(VENV)/installed-dev ## Upgrade the lock files within the ranges of pyproject.toml
	$(COMPILE) --upgrade --group build -o requirements.txt
	$(COMPILE) --upgrade --group build --group ray -c requirements.txt -o requirements-ray.txt
	$(COMPILE) --upgrade --group build --group cuda -c requirements.txt -o requirements-cuda.txt
	$(COMPILE) --upgrade --group dev --extra export -c requirements-ray.txt -o requirements-dev.txt

audit: $(VENV)/installed-dev ## Look for known vulnerabilities in the lock files (needs a network)
	uv tool run pip-audit@2.10.1 --disable-pip --require-hashes --progress-spinner off \
		-r requirements.txt -r requirements-ray.txt -r requirements-cuda.txt -r requirements-dev.txt $(OPTIONS)
	cd web && npm audit --package-lock-only

notice: $(VENV)/installed-dev ## Write the licences of the locked packages to NOTICE
	python -m tools notice

install: $(VENV)/installed-dev ## Install everything that development needs

clean: ## Remove the virtual environment, all results and the cache
	rm -rf $(VENV) web/node_modules .dvc/cache .dvc/tmp release
	git clean -fdXq data

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
		{ echo "error: $(PYTHON): not Python 3.10 to 3.13. Name one: make PYTHON=python3.12"; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The project itself is installed for the command `letterpress`; the check compares its
# dependencies in pyproject.toml with the lock file.
$(VENV)/installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing the dependencies (this takes some minutes)"
	@$(PIP_INSTALL) -r requirements.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index -e .
	@$(PIP) check
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt | $(VENV)/installed
	@echo "Installing what development needs"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

$(TENSORFLOW_JS): web/package-lock.json
	@command -v npm > /dev/null || { echo "error: npm: not on PATH. Install Node.js"; exit 1; }
	@echo "Installing TensorFlow.js"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

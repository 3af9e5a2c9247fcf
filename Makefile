# The one vocabulary: people type these words, and continuous integration calls the same.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# dvc runs `python` from PATH: this puts the virtual environment's first.
export PATH := $(abspath $(BIN)):$(PATH)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes
COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.10 \
	--no-header --no-annotate pyproject.toml
# What `make report` compares with.
BASE ?= main
# What `make workers` trains, and with how many processes.
STAGE ?= train_mnist
WORKERS ?= 2
# Where `make serve` serves.
PORT ?= 8000
# TensorFlow.js, for the page; the tests do without it where there is no npm.
TENSORFLOW_JS := web/node_modules/.package-lock.json
# How many damaged inputs `make fuzz` tries on each reader, and when `make chaos` kills.
CASES ?= 20000
MOMENTS ?= 20
# Of the metrics, `make experiments` shows the letters' accuracies and loss, and the digits' accuracy.
COLUMNS_LEFT_OUT := --drop '(data|stages)/|(accuracy|loss)_|labels_|ceiling|shared|Created'
COLUMNS_KEPT := --keep '(.*ascii_letter/metrics.json:)?(accuracy|accuracy_unseen|loss)$$' \
	--keep '.*mnist/metrics.json:accuracy$$'

.DEFAULT_GOAL := help
.PHONY: help repro metrics experiments report cards workers serve test test-web test-distributed bench scale lint format verify lock notice fuzz chaos install clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

repro: $(VENV)/installed ## Make everything that is not up to date, then show the metrics
	@git rev-parse --verify HEAD > /dev/null 2>&1 || \
		{ echo "error: DVC needs git and a commit: git init && git add --all && git commit"; exit 1; }
	dvc repro
	@$(MAKE) --no-print-directory metrics

metrics: $(VENV)/installed ## Show the metrics as a table
	@python -m tools.metrics

experiments: $(VENV)/installed ## Show the experiments in a table that fits a terminal
	@dvc exp show --no-pager --only-changed --md $(COLUMNS_LEFT_OUT) $(COLUMNS_KEPT) | \
		sed -e 2d -e 's#data/ascii_letter/metrics.json:##g' -e 's#data/mnist/metrics.json:#digits_#g' \
			-e 's/ *| */|/g' -e 's/^|//' | column -t -s '|'

report: $(VENV)/installed ## Write what HEAD changes against BASE (make report BASE=main) as Markdown
	python -m tools.report --base $(BASE) --head HEAD --out report.md

cards: $(VENV)/installed ## Write the figures of the metric files into the cards and the README
	@python -m tools.cards

workers: $(VENV)/installed ## Train with several processes (make workers STAGE=train_mnist WORKERS=2)
	@python -m tools.workers $(WORKERS) $(STAGE)

serve: $(VENV)/installed $(TENSORFLOW_JS) ## Serve the page that people draw on (make serve PORT=8000)
	@dvc repro export_web
	@python -m tools.serve --port $(PORT)

test: $(VENV)/installed-dev $(if $(shell command -v npm),$(TENSORFLOW_JS)) ## Run the tests (offline, on data that they make)
	python -m pytest

test-web: $(VENV)/installed-dev $(TENSORFLOW_JS) ## Draw letters in a browser, on the trained classifier
	dvc repro export_web
	python -m pytest -n 0 -m web tests/web

test-distributed: $(VENV)/installed-dev ## Test a Ray cluster, several workers, and a remote on a server, all on this machine
	python -m pytest -n 2 --dist loadfile tests/distributed

bench: $(VENV)/installed-dev ## Measure what docs/performance.md says, and print the ratios (make bench OPTIONS=--quick)
	python -m pytest -n 0 tests/benchmarks -o python_files='bench_*.py' -W default \
		--benchmark-autosave --benchmark-json=benchmark.json $(OPTIONS)
	python -m tools.bench benchmark.json

scale: $(VENV)/installed-dev ## Measure what docs/scale.md says, and estimate anew what many letters cost
	python -m tools.scale

lint: $(VENV)/installed-dev ## Check style, types, and that the lock files belong to pyproject.toml
	ruff check .
	ruff format --check .
	mypy
	python -m tools.check_lock
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --quiet --offline .github/workflows

format: $(VENV)/installed-dev ## Format the code
	ruff check --fix .
	ruff format .

verify: $(VENV)/installed ## Make everything in a fresh clone of HEAD, and compare it byte for byte
	python -m tools.verify

lock: $(VENV)/installed-dev ## Write the lock files anew, with the newest versions that pyproject.toml admits
	$(COMPILE) --upgrade -o requirements.txt
	$(COMPILE) --upgrade --group ray -c requirements.txt -o requirements-ray.txt
	$(COMPILE) --upgrade --group dev -c requirements-ray.txt -o requirements-dev.txt

notice: $(VENV)/installed-dev ## Write the licences of what the lock file installs to NOTICE
	python -m tools.notice

fuzz: $(VENV)/installed-dev ## Try CASES damaged inputs on each reader (make fuzz CASES=100000)
	CASES=$(CASES) python -m pytest -m fuzz tests/reliability

chaos: $(VENV)/installed-dev ## Kill each stage, and dvc, at MOMENTS moments, and compare what comes out
	MOMENTS=$(MOMENTS) python -m pytest -m chaos tests/reliability $(OPTIONS)

install: $(VENV)/installed-dev ## Make the virtual environment with all that development needs

clean: ## Remove the virtual environment and all that the pipelines made, the cache included
	rm -rf $(VENV) web/node_modules .dvc/cache .dvc/tmp
	git clean -fdXq data

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
		{ echo "error: Python 3.10 to 3.13 is needed; name one: make PYTHON=python3.12"; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(BIN)/python
	@echo "Installing the dependencies (this takes some minutes)"
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt | $(VENV)/installed
	@echo "Installing what development needs"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

$(TENSORFLOW_JS): web/package-lock.json
	@command -v npm > /dev/null || { echo "error: npm is needed, it comes with Node.js"; exit 1; }
	@echo "Installing TensorFlow.js"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

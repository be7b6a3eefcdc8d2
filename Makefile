# Every gate and every way to run Tandem. `make help` lists them.
PYTHON  ?= python3.11
VENV    := .venv
BIN     := $(VENV)/bin
UV      := $(BIN)/uv
UV_PIN  := $(shell sed -n '/^uv==/p' requirements/build.in)
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
DEMO_ARGS ?=
PYTEST_ARGS ?=
CLUSTER_ARGS ?=
CODE := $(wildcard services operators images tests benchmarks)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test chaos test-cluster unit bench lint format type verify generate docs docs-check lock images clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV_PIN)

$(VENV)/.run: requirements/run.lock pyproject.toml | $(UV)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/run.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/dev.lock
	@touch $@

# Compiled kernels hold copies of what they call from other files, and their cache looks at their own file only: a change of one drops all.
$(VENV)/.kernels: $(wildcard services/tandem/quant/*.py) $(VENV)/.run
	find services -name "*.nbi" -delete -o -name "*.nbc" -delete
	@touch $@

setup: $(VENV)/.run $(VENV)/.kernels  ## install what running needs into .venv
setup-dev: $(VENV)/.dev $(VENV)/.kernels  ## install what developing needs too

demo: setup  ## run the whole platform over real data on this machine (DEMO_ARGS="...")
	$(BIN)/tandem demo $(DEMO_ARGS)

test: setup-dev  ## all tests; starts the real servers they need
	PYTHONPATH=tests $(BIN)/python -m cluster.binaries  # before pytest, which would hide the minutes of the first build
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-cluster: setup-dev  ## a real Kubernetes node, the images and a whole life of an installation; as root (CLUSTER_ARGS=smoke)
	PYTHONPATH=tests $(BIN)/python -m cluster $(CLUSTER_ARGS)

# SEEDS=n how many, FIRST_SEED=k the first, DATA=file trades or bars in Parquet instead of 20 stocks' daily closes.
SEEDS ?= 3
FIRST_SEED ?= 1
DATA ?=
CHAOS_ARGS ?=
chaos: setup-dev  ## replay under seeded faults and let the checker judge; writes var/chaos/report.json (SEEDS, FIRST_SEED, DATA)
	PYTHONPATH=tests $(BIN)/python -m chaos --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(if $(DATA),--data $(DATA)) $(CHAOS_ARGS)

unit: setup-dev  ## the quick, pure tests only
	$(BIN)/python -m pytest tests/unit tests/property tests/reference $(PYTEST_ARGS)

BENCHMARKS ?= market_flow ingest forecast_step metrics_overhead scale sector_latency \
  garch_fits screening network_training training operator_scale dashboard_pages
bench: setup-dev  ## measure against the peers, ratios in one run; what is printed is kept in var/bench (BENCHMARKS="...")
	mkdir -p var/bench
	set -e; for name in $(BENCHMARKS); do \
	  OMP_NUM_THREADS=1 bash -o pipefail -c "$(BIN)/python benchmarks/$$name.py | tee var/bench/$$name.txt"; \
	done

lint: setup-dev  ## format check, lint, types, layers
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(MAKE) --no-print-directory type
	$(BIN)/lint-imports

type: setup-dev  ## mypy --strict
	$(BIN)/mypy

format: setup-dev  ## rewrite the code in the house format
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

verify: setup-dev  ## generated files and locks are up to date (`tandem verify` checks a run)
	$(BIN)/python -m tandem.cli.verify

generate: setup-dev  ## write the reference pages from the code
	$(BIN)/python -m tandem.cli.generate

docs: setup-dev  ## the documentation as a site, in var/site; a warning fails it (with --quiet, MkDocs would count none)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# PAGES="docs/a.md ..." instead of all; SLOW=1 also what starts a platform or trains.
PAGES ?=
SLOW ?=
docs-check: setup-dev  ## run the commands that the documents mark runnable (PAGES="docs/tutorial.md" SLOW=1)
	PYTHONPATH=tests $(BIN)/python -m documents $(if $(SLOW),--slow) $(PAGES)

# One resolution for all: what an image holds is a part of run.lock, in the same versions.
COMPILE := pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11
EVERYTHING := pyproject.toml requirements/build.in --extra train --extra local --extra operator
PART := -c requirements/run.lock -o

lock: | $(UV)  ## resolve the dependencies again
	$(UV) $(COMPILE) $(EVERYTHING) -o requirements/run.lock
	$(UV) $(COMPILE) $(EVERYTHING) --extra dev $(PART) requirements/dev.lock
	$(UV) $(COMPILE) requirements/build.in $(PART) requirements/build.lock
	$(UV) $(COMPILE) pyproject.toml --extra services $(PART) requirements/services.lock
	$(UV) $(COMPILE) pyproject.toml --extra dashboard $(PART) requirements/dashboard.lock
	$(UV) $(COMPILE) pyproject.toml --extra forecaster $(PART) requirements/forecaster.lock
	$(UV) $(COMPILE) pyproject.toml --extra operator $(PART) requirements/operator.lock
	$(UV) $(COMPILE) pyproject.toml --extra train $(PART) requirements/trainer.lock
	$(UV) $(COMPILE) requirements/mlflow.in $(PART) requirements/mlflow.lock

# docker, podman or buildah. IMAGE_ARGS: e.g. "--build-arg PYTHON_IMAGE=docker.io/library/python:3.11-slim@sha256:..."; see docs/images.md.
ENGINE ?= docker
IMAGES ?= services dashboard forecaster operator mlflow trainer
IMAGE_ARGS ?=
IMAGE_TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

images:  ## build the images by the Dockerfile (ENGINE=..., IMAGES="services ...", IMAGE_ARGS="...", IMAGE_TAG=...)
	set -e; for name in $(IMAGES); do \
	  $(ENGINE) build --target $$name --tag tandem-$$name:$(IMAGE_TAG) \
	    --build-arg VERSION=$(IMAGE_TAG) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(IMAGE_ARGS) .; \
	done

clean:  ## remove the environment and all local state
	rm -rf $(VENV) var build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# `make help` lists what can be typed here.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup up test check bench explore storm deploy-check kn-commands image image-check sbom generated release-events protos lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## install everything into .venv/ and end

$(STAMP): requirements-test.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Wake needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV)/ …"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: install its venv module (on Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-test.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $(STAMP)

up: setup ## run the whole of Wake from its Knative YAML; ctrl-C stops it
	@exec $(BIN)/wake up

test: setup ## every test, on a real PostgreSQL, NATS and Envoy
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: setup ## format, lint, types, import contracts, generated files, gRPC contract, manifests against code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks.generated
	$(BIN)/python -m tests.checks.protos
	$(BIN)/python -m tests.checks.manifests
	$(BIN)/python -m tests.checks.events
	$(BIN)/python -m tests.checks.asyncapi

bench: setup ## measure Wake beside its peers, and print ratios
	@$(BIN)/python -m tests.bench

explore: setup ## the order flow under every single crash, repetition and exchange, on a real PostgreSQL
	@$(BIN)/python -m tests.explore

storm: setup ## orders while everything is killed at random; then the books are checked
	@$(BIN)/python -m tests.storm

OVERLAY ?= nats

deploy-check: setup ## what the cluster lacks for knative/overlays/$OVERLAY (nats), through kubectl
	@$(BIN)/python -m knative.runtime.deploy knative/overlays/$(OVERLAY)

kn-commands: setup ## the `kn service create` line of every Service
	@$(BIN)/wake render --kn

image: setup ## build the image with docker, podman or buildah: IMAGE is its name, BASE what it stands on
	@$(BIN)/python -m knative.image $(if $(IMAGE),--tag $(IMAGE)) $(if $(BASE),--base $(BASE))

image-check: setup ## build the image with buildah, run it, and order something (as root on Linux; a minute and a half)
	@$(BIN)/python -m tests.ship.image $(if $(BASE),--base $(BASE))

sbom: setup ## write the image's bill of materials, CycloneDX JSON, to build/wake.cdx.json
	@$(BIN)/python -m knative.image.sbom $(if $(IMAGE),--tag $(IMAGE))

generated: setup ## write what is generated from code: event schemas and catalogue, EventTypes, diagrams, plain YAML
	@$(BIN)/python -m tests.checks.generated --write

release-events: setup ## make today's event schemas the released ones, which nothing may break any more
	@$(BIN)/python -m tests.checks.events --release

protos: setup ## generate the gRPC stubs from protos/**/*.proto
	@$(BIN)/python -m tests.checks.protos --write

lock: ## resolve the requirements again and write their hashes
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" pyproject.toml --output-file requirements.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --extra migrate pyproject.toml --output-file requirements-image.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --extra local pyproject.toml --output-file requirements-local.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --extra local --extra test pyproject.toml --output-file requirements-test.txt

clean: ## remove what was installed and what was run (.venv/ and .wake/)
	@if [ -x $(BIN)/wake ]; then $(BIN)/wake down --quiet || true; fi
	rm -rf $(VENV) .wake .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make help` lists what can be typed here.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup up test check bench explore storm check-overlays operations-check deploy-check kn-commands func-check aws-check lambda \
  image image-check sbom generated release-events protos lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

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

check: setup ## format, lint, types, import contracts, generated files, gRPC contract, manifests against code, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks.generated
	$(BIN)/python -m tests.checks.protos
	$(BIN)/python -m tests.checks.manifests
	$(BIN)/python -m tests.checks.events
	$(BIN)/python -m tests.checks.asyncapi
	$(BIN)/python -m tests.checks.migrations

# What only these checks need: checkov, with a hundred packages that it pins, and Knative's own types, which npm has.
TOOLS := .checks

$(TOOLS)/.installed: requirements-checkov.txt $(wildcard tests/checks/npm/*) tests/checks/npm/.npmrc | $(STAMP)
	@command -v npm >/dev/null || { echo "the overlays' checks need npm: install Node.js 18 or newer (on Debian: apt-get install nodejs npm)"; exit 1; }
	@echo "Installing checkov and Knative's types into $(TOOLS)/ …"
	@mkdir -p $(TOOLS)/npm
	@$(PYTHON) -m venv --clear $(TOOLS)/checkov
	@$(TOOLS)/checkov/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-checkov.txt
	@cp tests/checks/npm/* tests/checks/npm/.npmrc $(TOOLS)/npm/
	@cd $(TOOLS)/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

check-overlays: setup $(TOOLS)/.installed ## every overlay with every component: Knative's types, Kubernetes' schemas, checkov
	@$(BIN)/python -m tests.checks.overlays

bench: setup ## measure Wake beside its peers, and print ratios
	@$(BIN)/python -m tests.bench

explore: setup ## the order flow under every single crash, repetition and exchange, on a real PostgreSQL
	@$(BIN)/python -m tests.explore

storm: setup ## orders while everything is killed at random; then the books are checked
	@$(BIN)/python -m tests.storm

operations-check: setup ## alerts, dashboards and what they read, in a real Prometheus; a restored backup
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/operations/check_*.py

OVERLAY ?= nats

deploy-check: setup ## what the cluster lacks for knative/overlays/$OVERLAY (nats), through kubectl
	@$(BIN)/python -m knative.runtime.deploy knative/overlays/$(OVERLAY)

kn-commands: setup ## the `kn service create` line of every Service
	@$(BIN)/wake render --kn

func-check: setup ## a clean venv with `pip install .` and func-python serves the API (half a minute)
	@$(BIN)/python -m pytest tests/function/clean_venv.py

AWS_TOOLS := $(VENV)/aws-tools

aws-check: setup $(AWS_TOOLS)/.installed ## the Lambda template through cfn-lint, an order through EventBridge and SQS (moto)
	@AWS_TOOLS=$(AWS_TOOLS) $(BIN)/python -m pytest tests/functions/aws/on_aws.py

$(AWS_TOOLS)/.installed: requirements-aws.txt | $(STAMP)
	@$(PYTHON) -m venv --clear $(AWS_TOOLS)
	@$(AWS_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-aws.txt
	@touch $@

# For the template's Architecture and Runtime; what is not pure Python comes as a wheel for them.
LAMBDA_MACHINE ?= aarch64
LAMBDA_PYTHON ?= 3.13
LAMBDA_FOLDER ?= .wake/lambda

# setuptools packs what build/ still has of an earlier time, also what was deleted since.
lambda: setup ## what the Lambda functions run, into .wake/lambda/: then `sam deploy`
	@rm -rf $(LAMBDA_FOLDER) build/lib build/bdist.*
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt \
	  --target $(LAMBDA_FOLDER) --only-binary :all: --python-version $(LAMBDA_PYTHON) --implementation cp \
	  --platform manylinux_2_28_$(LAMBDA_MACHINE) --platform manylinux_2_17_$(LAMBDA_MACHINE) --platform manylinux2014_$(LAMBDA_MACHINE)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --target $(LAMBDA_FOLDER) .
	@echo "$(LAMBDA_FOLDER)/ is for Python $(LAMBDA_PYTHON) on $(LAMBDA_MACHINE). Next: sam deploy --guided --template-file knative/overlays/lambda/template.yaml"

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

LOCK := uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
  --python-version 3.11 --custom-compile-command "make lock"

lock: ## resolve the requirements again and write their hashes
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) --extra migrate pyproject.toml --output-file requirements-image.txt
	$(LOCK) --extra local pyproject.toml --output-file requirements-local.txt
	$(LOCK) --extra local --extra test pyproject.toml --output-file requirements-test.txt
	$(LOCK) requirements-aws.in --output-file requirements-aws.txt
	echo "checkov>=3.3" | $(LOCK) - --output-file requirements-checkov.txt
	cd tests/checks/npm && npm install --package-lock-only --ignore-scripts --no-audit --no-fund

clean: ## remove what was installed and what was run (.venv/, .checks/, build/ and .wake/)
	@if [ -x $(BIN)/wake ]; then $(BIN)/wake down --quiet || true; fi
	rm -rf $(VENV) $(TOOLS) build .wake .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

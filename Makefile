# `make help` lists what can be typed here.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup up test check bench explore storm operations-check deploy-check kn-commands func-check aws-check lambda generated release-events protos lock clean

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

$(AWS_TOOLS)/.installed: requirements-aws.txt
	@$(PYTHON) -m venv $(AWS_TOOLS)
	@$(AWS_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-aws.txt
	@touch $@

# For the template's Architecture and Runtime; what is not pure Python comes as a wheel for them.
LAMBDA_MACHINE ?= aarch64
LAMBDA_PYTHON ?= 3.13
LAMBDA_FOLDER ?= .wake/lambda

lambda: setup ## what the Lambda functions run, into .wake/lambda/: then `sam deploy`
	@rm -rf $(LAMBDA_FOLDER)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt \
	  --target $(LAMBDA_FOLDER) --only-binary :all: --python-version $(LAMBDA_PYTHON) --implementation cp \
	  --platform manylinux_2_28_$(LAMBDA_MACHINE) --platform manylinux_2_17_$(LAMBDA_MACHINE) --platform manylinux2014_$(LAMBDA_MACHINE)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --target $(LAMBDA_FOLDER) .
	@echo "$(LAMBDA_FOLDER)/ is for Python $(LAMBDA_PYTHON) on $(LAMBDA_MACHINE). Next: sam deploy --guided --template-file knative/overlays/lambda/template.yaml"

generated: setup ## write what is generated from code: event schemas and catalogue, EventTypes, diagrams, plain YAML
	@$(BIN)/python -m tests.checks.generated --write

release-events: setup ## make today's event schemas the released ones, which nothing may break any more
	@$(BIN)/python -m tests.checks.events --release

protos: setup ## generate the gRPC stubs from protos/**/*.proto
	@$(BIN)/python -m tests.checks.protos --write

lock: ## resolve the requirements again and write their hashes
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" pyproject.toml --output-file requirements.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --extra local pyproject.toml --output-file requirements-local.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --extra local --extra test pyproject.toml --output-file requirements-test.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" requirements-aws.in --output-file requirements-aws.txt

clean: ## remove what was installed and what was run (.venv/ and .wake/)
	@if [ -x $(BIN)/wake ]; then $(BIN)/wake down --quiet || true; fi
	rm -rf $(VENV) .wake .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

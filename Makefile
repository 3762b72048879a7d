# The commands of this project; continuous integration runs `make test` or `make test-all`, and `make infra`.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Containers often set it; each of some hundred processes of a test run would then compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

# embedded, embedded-azure, hapi, or the base URL of a FHIR R4 server: make demo FHIR=embedded-azure
FHIR ?= embedded

.PHONY: help demo test test-all check mutants infra commands bench docs sbom release-check fmt lock clean
.DEFAULT_GOAL := help

help:  ## Show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.for-demo  ## Start the whole world on this machine, upload sample studies, show them in FHIR
	$(BIN)/python -m local demo --fhir $(FHIR)

test: $(VENV)/.for-development  ## Run the tests, against real servers that are started once
	$(MAKE) --no-print-directory -j 2 prepared static
	SIMULATION_SCHEDULES=250 PROPERTY_EXAMPLES=25 scripts/test $(BIN) "not long"

test-all: $(VENV)/.for-spark  ## Run the tests, those that repeat them on more servers and screens, and more random schedules and examples
	$(MAKE) --no-print-directory -j 2 prepared static
	scripts/test $(BIN)

check: $(VENV)/.for-development  ## Quick checks: style, types, import contracts, unit and property tests
	$(MAKE) --no-print-directory -j 2 static quick

mutants: $(VENV)/.for-development  ## Change the core in small ways and list the changes that no test notices (10 minutes; SEED=1 for another sample)
	$(BIN)/python -m tests.simulation.campaign --seconds 600 --seed $(or $(SEED),0)

# Parts of the commands above, each beside another: types are checked while tests wait, and while servers download.
.PHONY: static quick prepared
quick:
	QUICK_CHECK=1 scripts/quick $(BIN)

prepared:
	$(BIN)/python -m local prepare --hapi --browser --orthanc --helm

static:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

infra: $(VENV)/.for-development  ## Compile the templates for Azure and compare every choice with its snapshot (some minutes)
	$(BIN)/python -m scripts.bicep check || [ $$? -eq 2 ]  # 2: there is no compiler, and it says so
	$(BIN)/python -m pytest tests/infra

commands: $(VENV)/.for-development  ## Type every command of the pages, as one who follows them (some minutes)
	$(BIN)/python -m pytest tests/e2e/test_documented_commands.py

bench: $(VENV)/.for-development  ## Measure, print a table, write bench/results.json (about ten minutes)
	$(BIN)/python -m local prepare --hapi
	$(BIN)/python -m bench

docs: $(VENV)/.for-development  ## Build the documentation site into .local/site; warnings and broken links are errors
	$(BIN)/sphinx-build -q -W --keep-going -b html docs .local/site
	@echo "Open .local/site/index.html"

sbom: $(VENV)/.for-development  ## Write the software bill of materials (CycloneDX) to .local/sbom.json
	mkdir -p .local
	$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON -o .local/sbom.json

release-check: $(VENV)/.for-development docs sbom  ## Tell what is missing before a version can be tagged
	$(BIN)/python scripts/release_check.py

fmt: $(VENV)/.for-development  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.for-development  ## Update the pinned dependencies of pyproject.toml
	scripts/lock $(BIN)

clean:  ## Remove everything that the commands above made
	rm -rf $(VENV) .local

$(VENV)/bin/python:
	python=$$(scripts/find-python) && "$$python" -m venv $(VENV)

$(VENV)/.for-demo: requirements-local.txt $(VENV)/bin/python
	scripts/install $(BIN) requirements-local.txt
	touch $@

$(VENV)/.for-development: requirements-dev.txt $(VENV)/bin/python
	scripts/install $(BIN) requirements-dev.txt
	touch $@ $(VENV)/.for-demo

# Half a gigabyte, for tests/insights/test_spark.py alone, which is skipped without it.
$(VENV)/.for-spark: requirements-spark.txt $(VENV)/.for-development
	scripts/install $(BIN) requirements-spark.txt
	touch $@

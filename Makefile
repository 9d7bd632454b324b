# `make quickstart` sets everything up and runs a first network; `make test` sets up and runs all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint unit fleet fleet-down clean

quickstart: $(VENV)/installed
	$(BIN)/harness run playbooks/quickstart.toml

test: $(VENV)/installed-dev lint
	$(BIN)/python -m harness_cometbft.install
	$(BIN)/pytest -n 3 --dist worksteal $(PYTEST_ARGS)

unit: $(VENV)/installed-dev
	$(BIN)/pytest -n 2 -m "not real and not slow" $(PYTEST_ARGS)

# Hosts to try things on: `make fleet HOSTS=2`. See tests/fleet/README.md.
HOSTS ?= 4
fleet: $(VENV)/installed-dev
	@PYTHONPATH=tests/fleet $(BIN)/python -m fleet up --hosts $(HOSTS)

fleet-down: $(VENV)/installed-dev
	@PYTHONPATH=tests/fleet $(BIN)/python -m fleet down

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

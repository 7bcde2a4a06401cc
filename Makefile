# Each target is self-sufficient on a fresh machine with Python 3.11 or newer: it makes its environment, installs, runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MINIMAL := .venv-minimal
OLDEST := .venv-oldest
SEED ?= 0
PYTEST = $(BIN)/pytest -n auto --dist loadfile
QUIET := pip install --quiet --disable-pip-version-check
PIP := $(QUIET) --constraint constraints.txt

.PHONY: demo test quick kill fuzz browser lint smoke oldest docs clean

demo: $(READY)
	$(BIN)/kinemask demo --out kinemask-demo

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) -m "not slow"

# 200 processes killed at one of their file operations, drawn by a seed
kill: $(READY)
	KINEMASK_KILLS=200 $(BIN)/pytest tests/kill

# a recogniser's page in headless Chromium, with onnxruntime-web from npm
browser: $(READY) .ort-web/package
	KINEMASK_ORT_WEB=.ort-web/package/dist $(BIN)/pytest tests/recognition/test_browser.py

.ort-web/package:
	mkdir -p .ort-web
	cd .ort-web && npm pack --silent onnxruntime-web@1.30.0 && tar xzf onnxruntime-web-1.30.0.tgz

# a million damaged files, drawn by a seed
fuzz: $(READY)
	KINEMASK_FUZZ=1000000 KINEMASK_FUZZ_SEED=$(SEED) $(BIN)/pytest tests/fuzz

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

# the package as users install it: its own dependencies alone, and no link to this folder
smoke: $(MINIMAL)/.ready
	rm -rf build
	$(MINIMAL)/bin/$(PIP) --force-reinstall --no-deps .
	PATH="$(CURDIR)/$(MINIMAL)/bin:$$PATH" $(MINIMAL)/bin/python -P .ci/smoke.py

$(MINIMAL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(MINIMAL)
	$(MINIMAL)/bin/$(PIP) torch
	$(MINIMAL)/bin/$(PIP) .
	touch $@

# the same with the oldest versions that pyproject.toml claims
oldest: $(OLDEST)/.ready
	rm -rf build
	$(OLDEST)/bin/$(QUIET) --force-reinstall --no-deps .
	PATH="$(CURDIR)/$(OLDEST)/bin:$$PATH" $(OLDEST)/bin/python -P .ci/smoke.py

$(OLDEST)/.ready: pyproject.toml .ci/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/$(QUIET) --constraint .ci/oldest.txt .
	touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(VENV)/.docs: $(READY)
	$(BIN)/$(PIP) --editable '.[docs]'
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) torch
	$(BIN)/$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(MINIMAL) $(OLDEST) .ort-web build kinemask-demo site

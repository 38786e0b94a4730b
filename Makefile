# Two commands do everything, their own set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
AUDIO  ?= assets/demo.wav
NAME   := $(basename $(notdir $(AUDIO)))
FLAGS  ?=

.PHONY: help demo test test-all lint docs quality lock locked audit clean
help:
	@echo "make demo [AUDIO=path]   a recording in, a talking head out, in out/"
	@echo "make test                the tests, less those marked slow"
	@echo "make test-all            all tests"
	@echo "make lint                style and types"
	@echo "make docs                the documentation as a site, in site/"
	@echo "make locked             install what the tests need by requirements.lock, hash by hash (Linux, x86-64)"
	@echo "make lock               write that file anew"
	@echo "make audit DATABASE=DIR known faults of the pinned packages, from a folder of OSV files, without a network"
	@echo "make quality             the figures of docs/models/quality.md, measured again"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/parlante animate "$(AUDIO)" -o "out/$(NAME).mp4" -o "out/$(NAME).glb" -o "out/$(NAME).csv" -o "out/$(NAME).npz" $(FLAGS)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(FLAGS)

test-all: $(VENV)/.dev
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(FLAGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(FLAGS)

quality: $(VENV)/.dev
	$(BIN)/parlante evaluate textalker --quality docs/models/quality.md $(FLAGS)

locked: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torch -e .
	@touch $(VENV)/.run $(VENV)/.dev $(VENV)/.docs

lock: $(VENV)/.dev
	$(BIN)/python tools/lock.py

audit: $(VENV)/.dev
	$(BIN)/python tools/audit.py "$(DATABASE)"

clean:
	rm -rf out dist site .pytest_cache .mypy_cache .ruff_cache

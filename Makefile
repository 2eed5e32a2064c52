# Makes the environment; what runs in it is DVC's business (`dvc repro`) or pytest's.

PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test

repro: .venv/installed
	dvc repro

test: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy
	pytest

.venv/installed: requirements.txt constraints.txt
	command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	pip install --quiet --requirement requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	pip install --quiet --requirement requirements-dev.txt
	touch $@

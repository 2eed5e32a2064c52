# Makes the environment; what runs in it is DVC's business (`dvc repro`) or pytest's.

PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test

repro: .venv/installed .dvc/plots/offline.html
	dvc repro

test: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy
	pytest

# Lets `dvc plots` work offline; where a page of the user's own is set, that stays.
.dvc/plots/offline.html: .venv/installed sentifuse/offline_plots.py
	-python -m sentifuse offline-plots && touch $@

.venv/installed: requirements.txt constraints.txt
	command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	pip install --quiet --requirement requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-serve.txt requirements-s3.txt requirements-ssh.txt requirements-ray.txt
	pip install --quiet --requirement requirements-dev.txt
	touch $@

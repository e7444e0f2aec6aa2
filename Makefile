# make demo       train a small melody model on samples/melodies, make new melodies with it   (about 3 minutes)
# make demo-text  train a small model of sentences on samples/text, make new lines with it    (about 4 minutes)
# make test       the whole test suite; ARGS="-k melody -x" goes to pytest
# make test-gpu   the same with what is for GPUs alone, on a pretended one (tests/pretended_gpu.py); needs g++
# make lint       style and types
# make clean      remove what these have made
# All of them work in .venv, which is made on first use; make PYTHON=python3.12 takes another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := pyproject.toml constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
PAIR := samples/melodies/drowsy-maggie.mid samples/melodies/sleepy-maggie-reel.mid
LINES := "the LORD is my shepherd" "a wise son maketh a glad father"
SUM := --plus "I will sing unto the LORD" --plus "he shall not be moved" --minus "I shall not be moved"
OLD_PYTHON := "needs Python >= 3.11, not " + sys.version.split()[0] + "; see make PYTHON=python3.12"

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: demo demo-text test test-gpu lint clean

# Editable: commands and tests run what lies in this folder, and an edit needs no second install.
$(VENV)/.installed: $(SETUP)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and $(OLD_PYTHON) or 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	rm -rf demo
	$(BIN)/seqvae train samples/melodies --preset melody-2bar-small --minutes 2 --out demo/model
	$(BIN)/seqvae sample -n 8 --model demo/model --out demo/samples
	$(BIN)/seqvae interpolate $(PAIR) --out demo/interpolation
	@echo
	@echo "demo/model          the model trained just now on samples/melodies, and its figures in metrics.csv"
	@echo "demo/samples        8 new two-bar melodies from it, and samples.png"
	@echo "demo/interpolation  one tune turning into another with the model that comes with seqvae"

demo-text: $(VENV)/.installed
	rm -rf demo-text
	$(BIN)/seqvae train samples/text --preset text-words --minutes 3 --out demo-text/model
	@echo
	$(BIN)/seqvae sample -n 8 --temperature 0.5 --seed 1 --model demo-text/model --out demo-text/samples.txt
	@echo
	$(BIN)/seqvae reconstruct "he shall not be afraid" --model demo-text/model --out demo-text/reconstruction.txt
	@echo
	$(BIN)/seqvae interpolate $(LINES) --beam 5 --model text-psalms --out demo-text/interpolation.txt
	@echo
	$(BIN)/seqvae arithmetic $(SUM) --model text-psalms --out demo-text/arithmetic.txt
	@echo
	@echo "demo-text/model              the model trained just now on samples/text, and its figures in metrics.csv"
	@echo "demo-text/samples.txt        8 new lines from it, and in reconstruction.txt one that it was given"
	@echo "demo-text/interpolation.txt  one line turning into another with the model that comes with seqvae,"
	@echo "demo-text/arithmetic.txt     and one line with what makes two others differ"

test: $(VENV)/.installed-test
	$(PYTEST) $(ARGS)

test-gpu: $(VENV)/.installed-test
	$(PYTEST) -p tests.pretended_gpu $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo demo-text build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find benchmarks cli data_prep seqvae tests -name __pycache__ -type d -prune -exec rm -rf {} +

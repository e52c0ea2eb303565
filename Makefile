# Semantic IDs from Scratch. `make` alone lists the targets.

PYTHON ?= python3
BIN := .venv/bin
EXTRAS := notebooks,book,test,encode,scale

# Where to take torch from. PyPI's Linux wheel brings CUDA, some gigabytes of it. Readers without an NVIDIA card say
#     make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
# This adds an index rather than replacing PyPI. The lock says torch==2.13.0; a version without a local part accepts
# any local part, and pip ranks 2.13.0+cpu above 2.13.0: so the added index's CPU build is the one that gets installed.
TORCH_INDEX ?=
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c requirements.lock \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# --all reads every page again. Without it, a second -W build after a failure passes: Sphinx keeps the page that
# warned and does not read it again. tests/book/site.py builds with these very flags.
BOOK_FLAGS := --all -W -n --keep-going

# How many tests run side by side, each on one core; a worker takes up to 2 GB. A file, and so a notebook with its
# kernel, stays with one worker; tests/conftest.py puts those first that take long.
JOBS := 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:cacheprovider -n $(JOBS) --dist loadfile --no-loadscope-reorder
# What `make test` runs and `make check` does not: what builds, measures, spoils or kills.
SLOW := tests/book tests/studies tests/robustness

# How long and from which seed `make fuzz` runs each target; how often `make kill` kills.
SECONDS := 300
SEED := 0
KILLS := 50

.DEFAULT_GOAL := help
.PHONY: help book pdf gettext linkcheck notebooks check test matrix wheel fuzz kill lab bench scale lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.venv: .venv/installed  ## the environment, from requirements.lock (TORCH_INDEX=URL: take torch from there)
.venv/installed: pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and "This book needs Python 3.11 or newer; $(PYTHON) is " + v + ". Name another: make PYTHON=python3.12")'
	@echo "== .venv: installing the project and its pinned requirements (a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --quiet -e ".[$(EXTRAS)]"
	@touch $@

book: .venv  ## build the web book from the executed notebooks, warnings are errors
	@echo "== book: building the HTML into _build/html"
	$(BIN)/jupyter-book build . $(BOOK_FLAGS)
	@echo "== book: done. Open file://$(CURDIR)/_build/html/index.html"

pdf: book  ## print the book into one PDF (needs Chromium or Google Chrome; ONLY=notebooks/00_quickstart: one page)
	@echo "== pdf: printing the built pages into _build/pdf"
	$(BIN)/python book/_tools/print_book.py $(if $(ONLY),--pages $(ONLY))

gettext: .venv  ## collect what a translator needs: a .pot file for each page, in _build/gettext
	@echo "== gettext: every text of the book as message catalogues"
	$(BIN)/jupyter-book build . --all --keep-going --builder custom --custom-builder gettext --path-output _build/gettext
	@echo "== gettext: done. The catalogues are in _build/gettext/_build/gettext"

linkcheck: .venv  ## ask every address outside the book whether it still answers (needs a network; some minutes)
	@echo "== linkcheck: every external link; the report is _build/linkcheck/_build/html/output.txt"
	$(BIN)/jupyter-book build . --all --builder linkcheck --path-output _build/linkcheck

notebooks: .venv  ## execute the notebooks whose code, library or data changed (FORCE=1: all; ONLY=00_quickstart)
	@echo "== notebooks: notebooks/*.py -> executed .ipynb"
	FORCE=$(FORCE) $(BIN)/python book/_tools/notebooks.py $(ONLY)

check: .venv  ## lint, types, imports and the unit tests: the answer in two minutes
	@echo "== check: lint, format, which package imports which, types"
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	@echo "== check: the tests of the library's packages"
	$(PYTEST) tests $(SLOW:%=--ignore=%) --durations=5

test: check  ## everything: check, every notebook once, the book and its pages, studies, robustness
	@echo "== test: notebooks (nbval), the built book, studies, robustness"
	$(PYTEST) $(SLOW) notebooks --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=600 --nbval-kernel-startup-timeout=120 --durations=20

matrix: .venv  ## the packages' tests with the lowest versions that pyproject.toml allows, then with the newest
	$(BIN)/python tests/matrix.py lowest $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) --jobs $(JOBS)
	$(BIN)/python tests/matrix.py newest $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) --jobs $(JOBS)

wheel: .venv  ## build the wheel into dist, and try it with its dependencies in an empty environment
	$(BIN)/python tests/matrix.py wheel $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

fuzz: .venv  ## spoil files of every format, SECONDS=300 for each, and see that the readers refuse them well
	@echo "== fuzz: tests/robustness/fuzz/fuzz_*.py, $(SECONDS) seconds each"
	@set -e; for target in $(notdir $(basename $(wildcard tests/robustness/fuzz/fuzz_*.py))); do \
		echo "$$target"; $(BIN)/python -m tests.robustness.fuzz.$$target --seconds $(SECONDS) --seed $(SEED); done

kill: .venv  ## kill the commands that write KILLS=50 times, and see that every file is whole
	@echo "== kill: tests/robustness/kill.py"
	$(BIN)/python -m tests.robustness.kill --kills $(KILLS)

lab: .venv  ## read and run the chapters in JupyterLab
	@echo "== lab: JupyterLab on notebooks/ (stop it with Ctrl-C)"
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(LAB_FLAGS) \
		--LabApp.app_settings_dir=$(CURDIR)/book/_tools/lab  # which asks nobody about news

bench: .venv/bench  ## measure the library against its peers (installs them), about eight minutes
	@echo "== bench: tests/benchmarks -> book/_speed.md"
	$(BIN)/python tests/benchmarks/run.py

scale: .venv/installed  ## measure what several processes and larger data cost: hours, and 25 GB of disk
	@echo "== scale: two processes beside one"
	$(BIN)/python -m tests.benchmarks.scale_training
	@echo "== scale: a catalogue larger than memory"
	$(BIN)/python -m tests.benchmarks.scale_catalogue --ray
	@echo "== scale: histories larger than memory"
	$(BIN)/python -m tests.benchmarks.scale_histories

.venv/bench: .venv/installed
	@echo "== bench: installing the peers that are measured"
	$(PIP_INSTALL) --quiet -e ".[$(EXTRAS),bench]"
	@touch $@

lock: .venv  ## write requirements.lock again (UPGRADE=1: with the newest versions)
	@echo "== lock: resolving pyproject.toml with all extras"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet pip-tools
	cp requirements.lock .venv/lock.txt
	$(BIN)/pip-compile --quiet --all-extras --strip-extras --no-emit-find-links --no-emit-index-url \
		--no-emit-trusted-host --no-header --no-annotate $(if $(UPGRADE),--upgrade) \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --output-file .venv/lock.txt pyproject.toml
	sed 's/+cpu$$//' .venv/lock.txt > requirements.lock
	@echo "== lock: done. Look at 'git diff requirements.lock', then 'make test'"

clean:  ## remove what was built (the environment stays: rm -rf .venv removes it)
	@echo "== clean: removing _build and the caches"
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

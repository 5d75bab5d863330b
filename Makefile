# make figures [QUICK=1 | FULL=1]   every figure into figures/
# make test [SLOW=1]   the test suite                   make check       lint, format, types
# make bench [QUICK=1] speed beside the alternatives    make notebooks   JupyterLab
# make docs [QUICK=1]  the documentation into docs/site
# make test-lowest [SHORT=1]   the test suite on the lowest versions that pyproject.toml allows
# make test-newest [SHORT=1]   the test suite on the newest versions
# make help            this list
# Each creates its own virtual environment first.  PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV := .venv
SHORT_TESTS := tests/abs_theory/test_main.py tests/simulations/test_main.py tests/simulations/sweeps/test_sweep.py
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready

# compiled files are kept, or every process of the tests and figures would compile the packages again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help figures test test-lowest test-newest bench check notebooks docs clean

figures: $(READY)
	$(BIN)/python -m paper_figs $(if $(QUICK),--quick) $(if $(FULL),--full)

test: $(DEV_READY)
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(if $(SLOW),-m "slow or not slow")

# The lowest versions that pyproject.toml allows.  Those libraries warn about each other, which is not for us to mend.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python tests/lowest_versions.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/pip install --quiet --requirement .venv-lowest/requirements.txt
	.venv-lowest/bin/pip install --quiet --no-deps --editable .
	.venv-lowest/bin/python -m pytest -q -n auto -W ignore::DeprecationWarning $(if $(SHORT),$(SHORT_TESTS))

test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade --upgrade-strategy eager --editable ".[dev]"
	.venv-newest/bin/python -m pytest -q -n auto $(if $(SHORT),$(SHORT_TESTS))

bench: $(DEV_READY)
	$(BIN)/python -m benchmarks theory $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks simulator $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks start-up $(if $(QUICK),--quick)
	$(if $(QUICK),$(BIN)/python -m benchmarks reading --quick)
	$(if $(QUICK),$(BIN)/python -m benchmarks choice --quick --problem quadratic)
	$(if $(QUICK),$(BIN)/python -m benchmarks traces --quick)
	$(if $(QUICK),$(BIN)/python -m benchmarks losses --quick)

check: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

notebooks: $(READY)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[notebooks]"
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

docs: $(READY)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[docs]"
	$(if $(QUICK),QUICK=1) $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/site
	@echo docs/site/index.html

help:
	@sed -n '1,/^[^#]/s/^# //p' Makefile

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest figures .cache .pytest_cache .ruff_cache build docs/site docs/reference docs/generated docs/tutorials docs/examples docs/jupyter_execute *.egg-info

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is older; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	@touch $@

$(DEV_READY): $(READY)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[dev]"
	@touch $@

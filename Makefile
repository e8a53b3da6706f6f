# Everything runs in .venv, which `env` makes from any Python >= 3.11 and remakes when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Two busy threads per process are several times slower than one.
export OMP_NUM_THREADS := 1

.PHONY: env train test test-slow test-faults test-gpu lint format clean

env: $(INSTALLED)

# uv takes torch and torchvision from the registry as one pair; pip may keep a CPU-only torch found elsewhere on the
# machine, which torchvision cannot load. Bytecode is made once, here: torch alone takes seconds without, in every process
# of every test that starts some, where PYTHONDONTWRITEBYTECODE keeps Python from making it.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "raymix: $(PYTHON) is not Python >= 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "raymix: $(PYTHON) cannot make environments with pip; install its venv package (python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -e '.[dev]'
	touch $@

train: env
	$(BIN)/raymix train digits

# In two processes, one of which has a Ray cluster.
test: env
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: env
	$(BIN)/python -m pytest -m slow

# Kills, damages and bad data by the thousand: about two hours on 2 cores.
test-faults: env
	$(BIN)/python -m pytest -m faults -s

# On a machine with a GPU; elsewhere all is skipped.
test-gpu: env
	$(BIN)/python -m pytest -m gpu

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An experiment of launch/experiments.py (make table-1, table-1-small, table-2-small, ...), into docs/results.md.
table-%: env
	$(BIN)/python -m launch.tables $@ $(if $(DATA_DIR),--data-dir $(DATA_DIR))

# The ablation of capacity, a search on Ray.
table-4 table-4-small table-4-long: env
	$(BIN)/python -m launch.capacity_table $@ $(if $(DATA_DIR),--data-dir $(DATA_DIR))

# Keeps runs/.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find raymix launch tests -name __pycache__ -type d -prune -exec rm -rf {} +

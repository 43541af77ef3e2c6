# `make demo` trains, evaluates and draws the demo study; `make test` and `make lint` check the code; `make faults` injects
# every fault and writes docs/faults.md. Each target first makes .venv from requirements.lock if it is missing or was made
# from a different lock.
PYTHON ?= python3

# The SHA-256 of every file that may be installed is checked (requirements.hashes, from PyPI). HASHES=0 leaves this out, for a
# package index with its own builds.
HASHES ?= 1

.PHONY: demo test lint docs crate faults gpu gpu-rehearsal environment hashes

demo: environment
	@.venv/bin/snakemake --cores all
	@echo
	@cat results/demo/paper/table_1.md
	@echo
	@echo "table   results/demo/paper/table_1.md (also .csv, .tex)"
	@echo "figure  results/demo/paper/figure_robustness.pdf (also .png), figure_loss_terms.pdf (also .png)"
	@echo "report  results/demo/paper/report.html"

test: environment
	@OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# The documentation site, build/site/index.html, from an environment without PyTorch. Only the installation needs a network.
docs:
	@cmp -s docs/requirements.txt build/docs_env/installed.txt || { \
	  $(PYTHON) -m venv --clear build/docs_env \
	  && build/docs_env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement docs/requirements.txt \
	  && build/docs_env/bin/python -m pip check \
	  && cp docs/requirements.txt build/docs_env/installed.txt; }
	@NO_MKDOCS_2_WARNING=1 build/docs_env/bin/mkdocs build --strict --quiet

# RO-Crates of two committed studies, validated without a network from an environment without PyTorch.
crate: environment
	@cmp -s tests/research_crate/requirements.txt build/crate_env/installed.txt || { \
	  $(PYTHON) -m venv --clear build/crate_env \
	  && build/crate_env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	       --requirement tests/research_crate/requirements.txt \
	  && build/crate_env/bin/python -m pip check \
	  && cp tests/research_crate/requirements.txt build/crate_env/installed.txt; }
	@for study in cifar10_simclr paper_cpu; do \
	  .venv/bin/clever provenance --crate build/crates/$$study.zip paper_figures/measured/$$study || exit; \
	done
	@build/crate_env/bin/python tests/research_crate/validate.py build/crates/cifar10_simclr.zip build/crates/paper_cpu.zip

faults: environment
	@OMP_NUM_THREADS=1 .venv/bin/python -m faults.run --output docs/faults.md

# All GPU checks in nine minutes; clever.gpu_check.slice makes gpu_data/cifar10.npz (see benchmarks/README.md).
gpu: environment
	@.venv/bin/python -m clever.gpu_check --output results/gpu

gpu-rehearsal: environment
	@.venv/bin/python -m clever.gpu_check --rehearse --output results/gpu_rehearsal

lint: environment
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/snakefmt --check Snakefile workflow
	@.venv/bin/snakemake --lint

environment:
	@cmp -s requirements.lock .venv/installed.lock || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "error: $(PYTHON) is not Python 3.11 or newer; name one that is: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }; \
	  echo "installing requirements.lock into .venv (about 6 GB, minutes)" \
	  && $(PYTHON) -m venv --clear .venv \
	  && if [ "$(HASHES)" = 0 ]; then set -- --requirement requirements.lock; \
	     else set -- --require-hashes --requirement requirements.hashes; fi \
	  && .venv/bin/python -m pip install --quiet --disable-pip-version-check "$$@" \
	  && .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
	  && cp requirements.lock .venv/installed.lock; }

# requirements.hashes from requirements.lock, after a change to it.
hashes:
	@test -x build/uv_env/bin/uv || { $(PYTHON) -m venv --clear build/uv_env && build/uv_env/bin/python -m pip install --quiet uv==0.13.9; }
	@build/uv_env/bin/uv pip compile --quiet --universal --no-deps --generate-hashes --no-annotate --python-version 3.11 \
	  --custom-compile-command "make hashes" --output-file requirements.hashes requirements.lock

# make demo    train on real data with the best backend this machine has
# make test    run the whole test suite
# make check   formatter, linter, type checker
# make package build wheel and sdist, and check what a user installs
# make bench   measure, side by side with what else is installed
# make gpu-check  run the suite on a CUDA machine and write what ran
#
# Everything is installed into .venv, from pyproject.toml. With PYTHON=<interpreter> that interpreter is
# used as it is, and nothing is installed.

VENV := .venv

ifdef PYTHON
RUN := PYTHONPATH=$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON)
installed =
else
RUN := $(VENV)/bin/python
IN_PARALLEL := -n auto
installed = $(VENV)/$(1).installed
endif

.PHONY: demo test check package bench gpu-check clean

demo: $(call installed,sklearn-cli-plot)
	@$(RUN) -m gpubp demo $(ARGS)

test: $(call installed,test)
	@$(RUN) -m pytest $(IN_PARALLEL) $(ARGS)

bench: $(call installed,bench)
	@$(RUN) -m gpubp bench $(ARGS)

gpu-check: $(call installed,test-cuda12)
	@$(RUN) tests/gpu_check.py $(ARGS)

check: $(VENV)/test.installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict -p gpubp

package: $(call installed,test)
	@$(RUN) .ci/package.py

$(VENV)/bin/python:
	python3 -m venv $(VENV)

# One stamp for each set of extras, the extras joined by "-".
comma := ,
$(VENV)/%.installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(subst -,$(comma),$*)]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info

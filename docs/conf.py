"""Configuration of the documentation."""

from importlib.metadata import version as installed_version

project = "crbestim"
author = "The crbestim developers"
copyright = "The crbestim developers"
release = installed_version("crbestim")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
default_role = "py:obj"
# Names are looked up in the package first; |M0| is how docstrings write the amplitude.
rst_prolog = """
.. currentmodule:: crbestim
.. |M0| replace:: :math:`|M_0|`
"""
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# The scripts read CRBESTIM_FAST from the environment for a short run.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "ignore_pattern": r"_experiment\.py$",  # what the examples of the paper import
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "crbestim"
html_show_sourcelink = False
html_sidebars = {page: [] for page in (
    "installation", "getting_started", "performance", "glossary", "citing", "architecture", "contributing", "changes"
)}  # fmt: skip
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

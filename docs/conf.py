"""How Sphinx builds the site."""

import sk_payne

project = "sk_payne"
author = "The sk_payne developers"
copyright = f"2026, {author}"
version = release = sk_payne.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
exclude_patterns = ["_build"]
autosummary_generate = True
numpydoc_show_class_members = False
html_theme = "pydata_sphinx_theme"
# docstrings inherited from scikit-learn refer to pages of its own site
suppress_warnings = ["ref.ref"]

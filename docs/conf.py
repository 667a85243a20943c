"""How Sphinx builds the site."""

import sys
from pathlib import Path

import sk_payne

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "sk_payne"
author = "The sk_payne developers"
copyright = f"2026, {author}"
version = release = sk_payne.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "architecture_tables",
    "record_tables",
    "room_links",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
autosummary_generate = True
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"  # names in the margin are short

# Every reference must lead somewhere. What scikit-learn, torch and Python document is
# not linked, so that the site builds without a network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(sklearn|torch|nn|numpy|collections|skorch|astropy|specutils)\..*"),
    (r"py:attr", r".*"),  # attributes are described with their class
    (r"py:class", "Chemistry"),
    (r"py:class", r"sk_payne\.trained\._.*"),  # parts of a TrainedEmulator
    (r"py:data", r"sk_payne\.spectra\.SPECTRUM_FORMATS"),
]

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": "sk_payne",
    "reference_url": {"sk_payne": None},
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": (),
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": float("inf"),
}

html_theme = "pydata_sphinx_theme"
html_title = "sk_payne"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_show_sourcelink = False

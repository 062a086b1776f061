"""Sphinx: MyST pages, furo theme. `nox -s docs` builds with warnings as errors."""

project = "Interesting-Chat for Python"
author = "Interesting-Chat contributors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "README.md", "reports/*.jsonl"]
html_theme = "furo"
html_title = project
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "none"
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]  # The second: HAProxy has no lexer.

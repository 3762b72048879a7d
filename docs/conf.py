"""The documentation site: Markdown in, one static folder out, warnings are errors. Built by `make docs`."""

import re
from pathlib import Path

project = "DICOM\N{EN DASH}FHIR Sync"
author = f"the {project} project"
copyright = author  # noqa: A001 -- Sphinx's name for it
release = re.search(r'__version__ = "(.+)"', Path(__file__).parents[1].joinpath("sync/__init__.py").read_text())[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["copy.js"]
html_copy_source = False

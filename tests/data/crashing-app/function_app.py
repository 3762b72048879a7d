"""Our app, with objects that end its process or hold its event loop: for tests of crashes."""

import importlib.util
import sys

import endings

spec = importlib.util.spec_from_file_location("our_app", endings.ROOT / "function_app.py")
ours = sys.modules["our_app"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
endings.arrange()
app = ours.app

"""A plugin of pytest that puts one mutant in the place of its module before anything imports it."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE, FILE = "MUTATED_MODULE", "MUTATED_SOURCE"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        origin = Path(__file__).parents[3] / f"{name.replace('.', '/')}.py"
        return importlib.util.spec_from_file_location(name, origin, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(module.__file__), "exec"), module.__dict__)


LONGEST = 300
"""Seconds of processor time; what takes longer, as what never ends, is killed by the system, and was noticed."""

if VARIABLE in os.environ:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    assert os.environ[VARIABLE] not in sys.modules
    sys.meta_path.insert(0, _Finder(os.environ[VARIABLE], Path(os.environ[FILE]).read_text(encoding="utf-8")))

"""The Bicep templates as data. They are parsed here, never compiled: the compiler is not a package of any registry."""

import json
from functools import cache
from pathlib import Path

from pycep import BicepParser

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
ROLES = json.loads((INFRA / "roles.json").read_text())


@cache
def template(name):
    """Return one file, parsed; ``name`` is relative to ``infra/``, without suffix."""
    return BicepParser().parse(file_path=INFRA / f"{name}.bicep")


def resources():
    """Give file, symbol and resource of every resource that a template makes; loops are given once."""
    for file in FILES:
        name = str(file.relative_to(INFRA).with_suffix(""))
        for symbol, resource in template(name).get("resources", {}).items():
            if not resource["existing"]:
                yield name, symbol, resource


def of_type(kind):
    """Return what the templates say of every resource of a type."""
    return [body(resource) for _, _, resource in resources() if resource["type"] == kind]


def body(resource):
    """Return what a template says of a resource, whether it stands in a loop or under a condition."""
    config = resource["config"]
    while isinstance(config, dict) and isinstance(config.get("config"), dict):
        config = config["config"]
    return config


def variable(name, symbol):
    """Return a variable of a file."""
    return template(name)["variables"][symbol]["value"]

"""Contracts that list packages list every package: a new one without a place fails."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
BY_NAME = {contract["name"]: contract for contract in CONTRACTS}
TOP = {f"sync.{p.stem}" for p in (ROOT / "sync").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {
    "sync.__init__",
    "sync.__main__",
}
NETWORK = {"sync.adapters", "sync.bootstrap", "sync.cli"}
"""Packages that may import network libraries: the adapters, and those that wire and run them."""


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("Only adapters talk to the network", NETWORK),
        ("What is deployed does not know the world in memory", {"sync.testing"}),
    ],
)
def test_a_contract_that_lists_packages_lists_every_package(name, left_out):
    assert {*BY_NAME[name]["source_modules"]} == TOP - left_out


def test_every_package_with_modules_has_layers_of_its_own():
    packages = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "sync").rglob("__init__.py")}
    with_modules = {
        package
        for package in packages
        if len([p for p in ROOT.joinpath(*package.split(".")).glob("*.py") if not p.stem.startswith("__")]) > 1
    }
    layered = {name for contract in CONTRACTS if contract["type"] == "layers" for name in contract["containers"]}
    assert with_modules - layered == set()

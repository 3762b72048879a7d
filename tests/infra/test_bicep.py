"""What the compiler would refuse or warn of in the templates, found without it; and that it is found."""

import re

import pytest

from tests.infra.bicep import modules, names
from tests.infra.bicep.reader import parse, read
from tests.infra.bicep.tokens import BicepError
from tests.infra.templates import FILES, INFRA

IDS = [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_every_name_is_declared_and_used_and_known_when_it_must_be(file):
    assert list(names.faults(read(file))) == []


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_modules_get_and_give_what_they_declare(file):
    assert list(modules.faults(file)) == []


def test_every_output_of_a_module_is_taken_by_somebody():
    main = (INFRA / "main.bicep").read_text()
    modules_of_main = read(INFRA / "main.bicep").of("module").values()
    for path in {module.type for module in modules_of_main}:
        symbols = "|".join(module.name for module in modules_of_main if module.type == path)
        for output in read(INFRA / path).of("output"):
            assert re.search(rf"\b({symbols})!?\.outputs\.{output}\b", main), (path, output)


@pytest.mark.parametrize(
    "text",
    [
        "var a = { b: 1 c: 2 }",
        "var a = [1 2]",
        "var a = 'b",
        "var a = '${b'",
        "var a = '\\q'",
        "var a = max(1 2)",
        "var a = b!",
        "param a string 'b'",
        "param a text",
        "var a = 1 var b = 2",
        "resource a 'b@c' = { name: 'd' }}",
        "@description('a') param b string",
        "resource a 'b@c' = [for d in e { name: d }]",
        "func a() string => 'b'",
    ],
)
def test_what_bicep_refuses_is_refused(text):
    with pytest.raises(BicepError):
        parse(f"{text}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("var a = b\nvar c = a\nvar d = c", "nothing is called b"),
        ("param a string", "a is not used"),
        ("var a = frobnicate()\nvar b = a\nvar c = b", "no function frobnicate"),
        ("var a = guid()\nvar b = a\nvar c = b", "takes 1 to 99"),
        ("@secret()\nparam a string", "no decorator secret"),
        ("var a = { b: 1, b: 2 }", "b twice"),
        ("var a = 1\nvar a = 2", "declared twice"),
        ("resource a 'x@1' existing = { name: 'b' }\nresource c 'y@1' = { name: a.properties.d }", "at the start"),
        ("resource a 'x@1' = if (true) { name: 'b' }\noutput c string = a.properties.d", "write a!.properties"),
        ("resource a 'x@1' = { name: 'b' }\noutput c string = a!.properties.d", "no ! is needed"),
    ],
)
def test_slips_are_found(text, said):
    found = list(names.faults(parse(f"{text}\n")))
    assert any(said in fault for fault in found), found

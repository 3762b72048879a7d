import re
from pathlib import Path

from tests.docs.mapping_page import PAGE, page

ROOT = Path(__file__).parents[2]


def test_every_finding_of_the_mapping_is_documented_and_none_else():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "sync" / "mapping").glob("*.py"))
    noted = re.findall(
        r'\.note\(\s*[^,]+,\s*(?:"([a-z_]+\.[a-z_]+)"|f"\{self\._level\}(\.[a-z_]+)"|"([a-z.]+)" if)', sources
    )
    codes = {code or ternary for code, _, ternary in noted if code or ternary}
    codes |= {level + suffix for _, suffix, _ in noted if suffix for level in ("study", "series")}
    codes |= set(re.findall(r'else "([a-z_]+\.[a-z_]+)", "omitted"', sources))
    assert len(codes) > 20
    assert codes == documented(0)


def test_every_finding_of_the_header_reader_is_documented_and_none_else():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "sync" / "dicom").rglob("*.py"))
    codes = set(re.findall(r'\("([a-z_]+\.[a-z_]+)", "', sources))
    assert len(codes) > 5
    assert codes == documented(1)


def documented(table):
    tables = PAGE.read_text("utf-8").partition("## Findings")[2].split("The readers of headers")
    return set(re.findall(r"^\| `([a-z_.]+)` \|", tables[table], re.MULTILINE))


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), "run: .venv/bin/python -m tests.docs.mapping_page"

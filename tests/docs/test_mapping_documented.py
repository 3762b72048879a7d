import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_finding_of_the_mapping_is_documented_and_none_else():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "sync" / "mapping").glob("*.py"))
    noted = re.findall(
        r'\.note\(\s*[^,]+,\s*(?:"([a-z_]+\.[a-z_]+)"|f"\{self\._level\}(\.[a-z_]+)"|"([a-z.]+)" if)', sources
    )
    codes = {code or ternary for code, _, ternary in noted if code or ternary}
    codes |= {level + suffix for _, suffix, _ in noted if suffix for level in ("study", "series")}
    codes |= set(re.findall(r'else "([a-z_]+\.[a-z_]+)", "omitted"', sources))
    table = (ROOT / "docs" / "mapping.md").read_text("utf-8").partition("## Findings")[2]
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE))
    assert len(codes) > 20
    assert codes == documented

"""Writes a report on a model as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HIDDEN = "hidden (small cell)"
_MEASURES = (
    ("ppv", "positive predictive value"),
    ("npv", "negative predictive value"),
    ("agreement", "agreement"),
    ("kappa", "kappa"),
    ("sensitivity_naive", "sensitivity, of the verified alone"),
    ("sensitivity", "sensitivity, corrected (Begg and Greenes)"),
    ("specificity_naive", "specificity, of the verified alone"),
    ("specificity", "specificity, corrected (Begg and Greenes)"),
)
_ACCURACY = ("sensitivity_naive", "sensitivity", "specificity_naive", "specificity")


def model_text(facts: Mapping[str, Any]) -> str:
    """Return the report; it says which figures are hidden or cannot be computed."""
    lines = [f"# {facts['model']}: {facts['rule']}", "", f"As of {facts['as_of']}.", ""]
    if facts["findings"] is not None:
        lines += _findings(facts["findings"])
    if facts["sizes"] is not None:
        lines += _sizes(facts["sizes"])
    lines += [
        "Patients who look ill are examined further, so those with an outcome are no fair sample. An outcome may rest",
        "on the finding itself, and a treatment on the model's advice. Findings of one patient are not independent:",
        "intervals are too narrow. Read docs/models.md before a figure is used.",
    ]
    return "\n".join(lines) + "\n"


def _findings(section: Mapping[str, Any]) -> list[str]:
    lines = [f"## Findings, outcomes of 0 to {section['within_days']} days", "", *_table(section["all"])]
    if section["certain"] is not None:
        lines += ["Without pairs whose site or side is not known:", "", *_table(section["certain"])]
    return [*lines, _rest(section["not_counted"]), "", *_strata(section["strata"])]


def _strata(strata: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    lines = [
        "## By month and subgroup",
        "",
        "| by | | findings with an outcome | agreement | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for name, parts in strata.items():
        for part in parts:
            share = part["agreement"]
            if share is None:
                lines.append(f"| {name} | {part['name']} | {_HIDDEN} | | |")
            else:
                value, interval = f"{share['value']:.3f}", _interval(share["interval"])
                lines.append(f"| {name} | {part['name']} | {part['findings']} | {value} | {interval} |")
    return [*lines, "", "Subgroups were not tested against each other: a difference may be chance.", ""]


def _table(table: Mapping[str, Any]) -> list[str]:
    cells = {name: _HIDDEN if count is None else str(count) for name, count in table["cells"].items()}
    lines = [
        "| model | found: yes | found: no | verified |",
        "|---|---|---|---|",
        f"| yes | {cells['true_positive']} | {cells['false_positive']} | {_share(table['verified_positive'])} |",
        f"| no | {cells['false_negative']} | {cells['true_negative']} | {_share(table['verified_negative'])} |",
        "",
        "| measure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, words in _MEASURES:
        value = table[name]
        if value is None:
            withheld = name in _ACCURACY and table["no_verified_negatives"]
            why = "withheld: no negative finding was verified" if withheld else "not told: a small cell, or nothing"
            lines.append(f"| {words} | {why} | |")
        else:
            of = f" ({value['count']} of {value['total']})" if "count" in value else ""
            lines.append(f"| {words} | {value['value']:.3f}{of} | {_interval(value['interval'])} |")
    return [*lines, ""]


def _share(value: Mapping[str, Any] | None) -> str:
    return "not told" if value is None else f"{value['count']} of {value['total']}"


def _interval(value: Mapping[str, float] | None) -> str:
    return "" if value is None else f"{value['low']:.3f} to {value['high']:.3f}"


def _sizes(section: Mapping[str, Any]) -> list[str]:
    lines = [f"## Sizes, recommended less implanted, within {section['within_days']} days", ""]
    if section["hidden"]:
        return [*lines, "Too few people for figures.", ""]
    whole = _HIDDEN if section["recommended"] is None else str(section["recommended"])
    lines += [f"Implants are known of {section['pairs']} of {whole} recommendations.", ""]
    values = section["bland_altman"]
    if values is None:
        return [*lines, "Limits of agreement need two pairs.", ""]
    limits, bias = values["limits"], values["bias_interval"]
    lines += [
        "| measure | mm | 95 % interval |",
        "|---|---|---|",
        f"| bias | {values['bias']:.2f} | {bias['low']:.2f} to {bias['high']:.2f} |",
        f"| lower limit of agreement | {limits['low']:.2f} | {_mm(values['lower_interval'])} |",
        f"| upper limit of agreement | {limits['high']:.2f} | {_mm(values['upper_interval'])} |",
        "",
    ]
    return [*lines, _rest(section["not_counted"]), ""]


def _mm(value: Mapping[str, float]) -> str:
    return f"{value['low']:.2f} to {value['high']:.2f}"


def _rest(counts: Mapping[str, int | None]) -> str:
    texts = {name: "few" if count is None else str(count) for name, count in counts.items()}
    return (
        f"Not counted: people with an outcome of the other side: {texts['other_side']}; with a preliminary one: "
        f"{texts['waiting']}; with a date that is too vague: {texts['undecidable']}."
    )

"""Paraphrases a definition, so that a physician can check its meaning."""

from __future__ import annotations

from datetime import date

from insights.cohort.definition import Age, Coded, Criterion, Definition, Diagnosis, Measured, Study, Visit


def paraphrase(definition: Definition, as_of: date) -> list[str]:
    """Return the definition as sentences."""
    lines = [f"People in the data, as of {as_of.isoformat()}:"]
    if not definition.restricted:
        lines.append("- whose record is not restricted (confidentiality R or V); restricted records do not count,")
    if definition.consent == "required":
        lines.append("- who agreed to research by an active consent,")
    elif definition.consent == "opt-out":
        lines.append("- who did not object to research,")
    lines += [f"- {criterion_words(criterion)}," for criterion in definition.who]
    lines[-1] = lines[-1].removesuffix(",") + "."
    wanted = _wanted(definition)
    if wanted:
        lines.append(f"Of them are extracted: {', '.join(wanted)}.")
    return lines


def criterion_words(criterion: Criterion) -> str:
    """Return a criterion in words."""
    value = criterion.value
    match criterion.kind:
        case "never":
            return f"not: {criterion_words(value)}"
        case "either":
            return " or ".join(criterion_words(criterion) for criterion in value)
        case "age":
            return _age(value)
        case "sex":
            return f"of sex {' or '.join(value)}"
        case kind:
            return _coded(kind, value)


def _age(value: Age) -> str:
    least, most = value.bounds()
    if most is None:
        return f"aged {least} or more (completed years)"
    return f"aged {least} to {most} (completed years)"


def _coded(kind: str, value: Coded | Study | Visit) -> str:
    when = (
        "at any time"
        if value.when == "ever"
        else f"in the {value.when}"
        if value.when.startswith("last")
        else value.when
    )
    if isinstance(value, Study):
        what = "an imaging study" + (f" with {' or '.join(value.modality)}" if value.modality else "")
        what += f" of {value.body_site}" if value.body_site else ""
        return f"with {what} {when}"
    if isinstance(value, Visit):
        return f"with an encounter of class {' or '.join(value.kind)} {when}"
    if isinstance(value, Diagnosis):
        extra = ", provisional ones too" if value.provisional else ""
        return f"with a diagnosis of {value.codes} {when} (by {value.date}{extra})"
    if isinstance(value, Measured):
        limits = [f"above {value.above} {value.unit}"] if value.above is not None else []
        limits += [f"below {value.below} {value.unit}"] if value.below is not None else []
        return f"with an observation of {value.codes} {' and '.join([*limits, when])}"
    article = "a medication" if kind == "medication" else "a procedure"
    return f"with {article} of {value.codes} {when}"


def _wanted(definition: Definition) -> list[str]:
    parts = []
    for kind in ("conditions", "medications", "procedures", "observations"):
        wanted = getattr(definition.get, kind)
        if wanted is not None:
            which = "all" if wanted.codes is None else wanted.codes
            parts.append(f"{which} {kind}" + ("" if wanted.when == "ever" else f" ({wanted.when})"))
    studies = definition.get.studies
    if studies is not None:
        parts.append("studies" + (f" with {' or '.join(studies.modality)}" if studies.modality else ""))
    if definition.get.reports is not None:
        parts.append("the reports of these studies")
    return parts

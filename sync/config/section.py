"""How settings are read from the environment, and refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sync.errors import ConfigError

PREFIX = "DICOM_SYNC_"


class _Variables(EnvSettingsSource):
    """The environment without blank values, for portals and templates like to set them."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.env_vars = {name: value.strip() for name, value in self.env_vars.items() if value and value.strip()}


_EXPECTED: Mapping[str, str] = {
    "missing": "is missing",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "finite_number": "expected a number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "greater_than": "expected more than {gt:g}",
    "greater_than_equal": "expected at least {ge:g}",
    "less_than": "expected less than {lt:g}",
    "less_than_equal": "expected at most {le:g}",
}
"""Types of pydantic's errors -> what the setting should hold, in words for people who do not know pydantic."""


class Section(BaseSettings):
    """Settings that share a prefix."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the base class passes all four
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the caller's values, then the environment."""
        return init_settings, _Variables(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """
        Read the environment; overrides win over it.

        Raises
        ------
        ConfigError
            Naming the first setting that is missing or wrong, and what it should hold, never what it holds.
        """
        try:
            return cls(**overrides)
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            raise ConfigError(cls.variable(str(first["loc"][0])), cls.expected(first)) from None

    @staticmethod
    def expected(fault: Mapping[str, Any]) -> str:
        """Return the form that a setting should have, by one of pydantic's errors; never its value."""
        context = fault.get("ctx", {})
        if fault["type"] in _EXPECTED:
            return _EXPECTED[fault["type"]].format(**context)
        if fault["type"] == "literal_error":
            return f"expected {context['expected']}".replace("'", "")
        return str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")

    @classmethod
    def variables(cls) -> dict[str, FieldInfo]:
        """Return the fields by the names of their environment variables."""
        return {cls.variable(name): info for name, info in cls.model_fields.items()}

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a field, given by its name or alias."""
        aliases = {info.validation_alias for info in cls.model_fields.values()}
        alias = name if name in aliases else getattr(cls.model_fields.get(name), "validation_alias", None)
        return str(alias) if alias else str(cls.model_config["env_prefix"]) + name.upper()

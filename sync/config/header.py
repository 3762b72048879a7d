"""Limits of header reading."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from sync.config.section import PREFIX, Section


class HeaderLimits(Section):
    """Limits of header reading; a file beyond one becomes a dead letter ``header.limit``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "HEADER_")

    first_read_bytes: Annotated[int, Field(ge=512)] = 64 * 1024
    """Size of the first ranged read; 95 % of headers fit in 64 KiB."""

    max_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Maximum bytes of one object to read until the end of its header."""

    max_inflated_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Maximum size of a deflated data set after inflation."""

    max_depth: Annotated[int, Field(ge=1)] = 32
    """Maximum nesting depth of sequences."""

    max_elements: Annotated[int, Field(ge=1)] = 200_000
    """Maximum number of data elements, including nested ones."""

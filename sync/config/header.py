"""What a header may cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from sync.config.section import PREFIX, Section


class HeaderLimits(Section):
    """Bounds of what a header may cost; a file beyond one becomes a dead letter ``header.limit``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "HEADER_")

    first_read_bytes: Annotated[int, Field(ge=512)] = 64 * 1024
    """Bytes of the first ranged read; 95 % of headers fit in 64 KiB."""

    max_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Bytes of one object that are read at most in search of its header's end."""

    max_inflated_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Bytes that a deflated data set may inflate to."""

    max_depth: Annotated[int, Field(ge=1)] = 32
    """Sequences within sequences."""

    max_elements: Annotated[int, Field(ge=1)] = 200_000
    """Data elements, nested ones included."""

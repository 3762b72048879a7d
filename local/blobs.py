"""Copies files into the container of a running world and deletes them there, as a scanner or a tool of Azure would."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient

from local.processes import StartError
from sync.adapters.azure.errors import what
from sync.config import STATE

_AMONG = 5000
"""Blobs among which the name is looked for that was probably meant."""


def upload(paths: Iterable[Path]) -> int:
    """
    Upload files under their names, and those below folders under their names within them.

    Returns
    -------
    int
        How many files.

    Raises
    ------
    StartError
        The settings name no storage, or it does not answer.
    """
    count = 0
    with _container() as container:
        for name, path in _named(paths):
            container.upload_blob(name, path.read_bytes(), overwrite=True)
            count += 1
    return count


def delete(names: Iterable[str]) -> tuple[int, dict[str, str]]:
    """
    Delete blobs by their names; a missing blob is skipped.

    Returns
    -------
    tuple
        How many were there; and those that were not, each with the name that was probably meant, or an empty text.

    Raises
    ------
    StartError
        The settings name no storage, or it does not answer.
    """
    count, missing = 0, []
    with _container() as container:
        for name in names:
            try:
                container.delete_blob(name)
                count += 1
            except ResourceNotFoundError as problem:
                if getattr(problem, "error_code", "") == "ContainerNotFound":
                    raise
                missing.append(name)
        there = [blob.name for blob in itertools.islice(container.list_blobs(), _AMONG)] if missing else []
    return count, {name: next(iter(difflib.get_close_matches(name, there, n=1)), "") for name in missing}


def source_containers() -> list[str]:
    """Return the containers that the environment names; the first is where files are put."""
    named = os.environ.get("DICOM_SYNC_CONTAINERS", "").split(",")
    return [name.strip() for name in named if name.strip()] or ["dicom"]


def _named(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    for path in paths:
        if path.is_dir():
            yield from ((file.relative_to(path).as_posix(), file) for file in sorted(path.rglob("*")) if file.is_file())
        else:
            yield path.name, path


@contextlib.contextmanager
def _container() -> Iterator[ContainerClient]:
    connection = os.environ.get(STATE, "")
    if not connection:
        raise StartError(f"{STATE} is not set: start a world, then type  . .local/world.env")
    try:
        with BlobServiceClient.from_connection_string(connection, retry_total=0) as service:
            yield service.get_container_client(source_containers()[0])
    except ResourceNotFoundError:
        containers = ", ".join(source_containers())
        raise StartError(f"the storage has no container {containers}: see DICOM_SYNC_CONTAINERS") from None
    except AzureError as problem:
        raise StartError(f"the storage of {STATE}: {what(problem)}; does its world run?") from None
    except ValueError:
        raise StartError(f"{STATE} is not a connection string: type  . .local/world.env  again") from None

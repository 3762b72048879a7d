"""A blob change feed made by hand, as Azure documents it: manifests, shards, chunks of Avro."""

import json
from datetime import datetime
from io import BytesIO

import fastavro
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

CONTAINER = "$blobchangefeed"

SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "BlobChangeEvent",
        "namespace": "com.microsoft.azure.storage.changefeed",
        "fields": [
            {"name": "schemaVersion", "type": "int"},
            *({"name": name, "type": "string"} for name in ("topic", "subject", "eventType", "eventTime", "id")),
            {
                "name": "data",
                "type": {
                    "type": "record",
                    "name": "BlobChangeEventData",
                    "fields": [
                        {"name": "api", "type": "string"},
                        {"name": "clientRequestId", "type": "string"},
                        {"name": "requestId", "type": "string"},
                        {"name": "etag", "type": "string"},
                        {"name": "contentType", "type": "string"},
                        {"name": "contentLength", "type": "long"},
                        {"name": "blobType", "type": "string"},
                        {"name": "url", "type": "string"},
                        {"name": "sequencer", "type": "string"},
                        {"name": "previousInfo", "type": ["null", {"type": "map", "values": "string"}]},
                        {"name": "storageDiagnostics", "type": {"type": "map", "values": "string"}},
                    ],
                },
            },
        ],
    }
)


def record(name, at, *, account="devstoreaccount1", container="dicom", kind="BlobCreated", etag="0x1", **more):
    """One record; an hour of a day in 2026 by default."""
    return {
        "schemaVersion": 3,
        "topic": f"/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{account}",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": kind,
        "eventTime": at.isoformat().replace("+00:00", "0Z") if isinstance(at, datetime) else at,
        "id": "62616073-8020-0000-00ff-233467060cc0",
        "data": {
            "api": "PutBlob",
            "clientRequestId": "",
            "requestId": "62616073-8020-0000-00ff-233467000000",
            "etag": etag,
            "contentType": "application/octet-stream",
            "contentLength": 1,
            "blobType": "BlockBlob",
            "url": "",
            "sequencer": "00000000000000010000000000000002000000000000001d",
            "previousInfo": None,
            "storageDiagnostics": {"bid": "9d726370-8006-0000-00ff-233467000000"},
        },
        **more,
    }


def chunk(records):
    """Bytes of one chunk file."""
    out = BytesIO()
    fastavro.writer(out, SCHEMA, records)
    return out.getvalue()


class HandmadeFeed:
    """The feed's container in an Azurite of ours."""

    def __init__(self, connection):
        self._service = BlobServiceClient.from_connection_string(connection)
        self._container = self._service.get_container_client(CONTAINER)

    def begin(self):
        try:
            self._container.create_container()
        except ResourceExistsError:
            for name in list(self._container.list_blob_names()):
                self._container.delete_blob(name)
        initial = {"version": 0, "begin": "1601-01-01T00:00:00.000Z", "status": "Finalized", "chunkFilePaths": []}
        self.write("idx/segments/1601/01/01/0000/meta.json", json.dumps(initial))

    def end(self):
        self._container.delete_container()

    def write(self, name, data):
        self._container.upload_blob(name, data, overwrite=True)

    def consumable(self, at):
        said = {"version": 0, "lastConsumable": at.isoformat().replace("+00:00", ".000Z"), "storageDiagnostics": {}}
        self.write("meta/Segments.json", json.dumps(said))

    def put(self, begin, shards, *, finished=True, chunks=None):
        """Write a segment; ``chunks`` is how many records go into one chunk file."""
        hour = f"{begin:%Y/%m/%d/%H%M}"
        paths = {shard: f"log/{shard}/{hour}/" for shard in shards}
        for shard, records in shards.items():
            size = chunks or max(len(records), 1)
            for number, first in enumerate(range(0, len(records), size)):
                self.write(f"{paths[shard]}{number:05}.avro", chunk(records[first : first + size]))
        manifest = {
            "version": 0,
            "begin": begin.isoformat().replace("+00:00", ".000Z"),
            "intervalSecs": 3600,
            "status": "Finalized" if finished else "Publishing",
            "config": {"version": 0},
            "chunkFilePaths": [f"{CONTAINER}/{path}" for path in paths.values()],
        }
        self.write(f"idx/segments/{hour}/meta.json", json.dumps(manifest))

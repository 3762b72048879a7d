"""Queue messages as Event Grid, or another sender, might send them."""

import base64
import json
import uuid
from typing import Any
from urllib.parse import quote

OURS = "devstoreaccount1"


def event(name: str, *, account: str = OURS, container: str = "dicom", kind: str = "BlobCreated") -> dict[str, Any]:
    """Return a CloudEvent of a blob."""
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "type": f"Microsoft.Storage.{kind}",
        "source": f"/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{account}",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "time": "2026-01-02T03:04:05.0000000Z",
        "data": {
            "api": "PutBlob",
            "eTag": "0x8D4BCC2E4835CD0",
            "url": f"https://{account}.blob.core.windows.net/{container}/{quote(name)}",
        },
    }


def packed(content: Any) -> str:
    """Return the text of a message: JSON, or text as it is, in base64."""
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.b64encode(text.encode()).decode()

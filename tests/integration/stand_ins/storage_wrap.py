"""A command for LOCAL_STORAGE_WRAP: gives the same storage under another host name, and stays."""

import json
import sys
import time

connection = sys.argv[sys.argv.index("--storage") + 1]
print(json.dumps({"storage": connection.replace("127.0.0.1", "localhost")}), flush=True)  # noqa: T201  # what it is for
time.sleep(600)

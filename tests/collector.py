"""A collector on this machine: takes OTLP over HTTP and what goes to Application Insights, and keeps it."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

INSTRUMENTATION_KEY = "00000000-0000-0000-0000-000000000001"


@dataclass
class Collector:
    """The requests received, by path; ``status`` is the answer's."""

    url: str = ""
    status: int = 200
    bodies: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def connection_string(self):
        return f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={self.url}/"

    def metrics(self):
        """Name -> metrics as they were exported, and the resources that they came from."""
        by_name = {}
        for body in self.bodies.get("/v1/metrics", []):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        by_name.setdefault(metric.name, []).append(metric)
        return by_name

    def spans(self):
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies.get("/v1/traces", [])]
        scopes = [
            scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans
        ]
        return [span for scope in scopes for span in scope.spans]

    def resources(self):
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies.get("/v1/traces", [])]
        return [attributes(span.resource) for request in requests for span in request.resource_spans]

    def envelopes(self):
        """Return the envelopes that Application Insights received."""
        items = []
        for path, bodies in self.bodies.items():
            if path.endswith("/track"):
                for body in bodies:
                    items += json.loads(body)
        return items

    def everything(self):
        """All of it as text, for a search."""
        said = [repr(path) + body.decode("latin-1") for path, bodies in self.bodies.items() for body in bodies]
        decoded = [str(metric) for metrics in self.metrics().values() for metric in metrics]
        return "\n".join([*said, *decoded, *map(str, self.spans()), json.dumps(self.envelopes())])


def attributes(holder):
    """Key -> value of what carries attributes in OTLP."""
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in holder.attributes
    }


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.bodies.setdefault(self.path, []).append(body)
            azure = self.path.endswith("/track")
            answer = b'{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}' if azure else b""
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/json" if azure else "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

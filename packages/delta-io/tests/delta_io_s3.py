"""An S3-compatible server in a process of its own, which fails when it is told to."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUCKET = "lake"
_FAULTS = "/__faults__"


class Server:
    """A running server, with one bucket."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.options = {
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "max_retries": "0",
        }

    def fail(self, *faults: dict[str, Any]) -> None:
        """Fail ``count`` requests with a ``method`` and a ``path``, once ``after`` others have failed.

        They are answered with ``status``; with ``landed``, after they were carried out.
        """
        data = json.dumps(faults).encode()
        request = urllib.request.Request(self.endpoint + _FAULTS, data, method="PUT")
        urllib.request.urlopen(request).close()

    def failed(self) -> int:
        """Return how many requests were failed since."""
        with urllib.request.urlopen(self.endpoint + _FAULTS) as answer:
            return int(answer.read())


@contextmanager
def running():
    """Run a server while the block does."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        server = Server(process.stdout.readline().decode().strip())
        bucket = urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(bucket).close()
        yield server
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Failing:
    """The application, which fails some requests."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._faults: list[dict[str, Any]] = []
        self._failed = 0
        self._lock = threading.Lock()
        self._puts = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == _FAULTS:
            return self._controlled(environ, start_response)
        fault = self._fault(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if fault is None and environ.get("HTTP_IF_NONE_MATCH") == "*":
            with self._puts:  # moto looks whether an object is there, and then puts it
                return [b"".join(self._application(environ, start_response))]
        if fault is None:
            return self._application(environ, start_response)
        if fault.get("landed"):
            b"".join(self._application(environ, lambda status, headers, *_: None))
        start_response(f"{fault['status']} Fault", [("Content-Type", "application/xml")])
        return [b"<Error><Code>Fault</Code><Message>asked for</Message></Error>"]

    def _fault(self, method: str, path: str) -> dict[str, Any] | None:
        with self._lock:
            for fault in self._faults:
                wanted = fault.get("method", method) == method and re.search(fault["path"], path)
                if not wanted or fault["count"] == 0 or self._failed < fault.get("after", 0):
                    continue
                fault["count"] -= 1
                self._failed += 1
                return fault
        return None

    def _controlled(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with self._lock:
            if environ["REQUEST_METHOD"] == "PUT":
                self._faults = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self._failed = 0
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(self._failed).encode()]


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    application = _Failing(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    _serve()

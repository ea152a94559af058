"""A registry of container images: what a pull needs of OCI's distribution API, and what it was asked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_OCI = "application/vnd.oci.image"


def flat_archive(rootfs: Path, path: Path) -> Path:
    """Write a root file system to a tar archive, as `docker export` does; gzip by the archive's name."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for entry in sorted(rootfs.iterdir()):
            tar.add(entry, arcname=entry.name)
    return path


@dataclass
class Registry:
    """What the server serves, and what it was asked.

    Attributes
    ----------
    address : str
        `host:port`.
    requests : list of str
        The paths that were asked for, in order.
    """

    address: str = ""
    requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def push(self, rootfs: Path, name: str, tag: str) -> str:
        """Take in an image of one layer; what to pull it by."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(rootfs, arcname=".")
        layer = gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)
        difference = _digest(buffer.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [difference]},
            "history": [{"created_by": "a test"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": self._blob(f"{_OCI}.config.v1+json", json.dumps(config).encode()),
            "layers": [self._blob(f"{_OCI}.layer.v1.tar+gzip", layer)],
        }
        body = json.dumps(manifest).encode()
        for reference in (tag, _digest(body)):
            self.manifests[f"{name}/{reference}"] = (manifest["mediaType"], body)  # type: ignore[assignment]
        return f"{self.address}/{name}:{tag}"

    def pulls(self) -> int:
        """How often the content of a layer or a configuration was fetched."""
        return sum("/blobs/" in path for path in self.requests)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        self.requests.append(path)
        parts = path.strip("/").split("/")
        if parts == ["v2"]:
            return 200, "application/json", b"{}"
        name, kind, reference = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if kind == "blobs" and reference in self.blobs:
            return 200, "application/octet-stream", self.blobs[reference]
        if kind == "manifests" and f"{name}/{reference}" in self.manifests:
            media, body = self.manifests[f"{name}/{reference}"]
            return 200, media, body
        error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return 404, "application/json", json.dumps(error).encode()

    def _blob(self, media: str, data: bytes) -> dict[str, Any]:
        self.blobs[_digest(data)] = data
        return {"mediaType": media, "digest": _digest(data), "size": len(data)}


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Registry]:
    """Serve on a free port of this machine; with a certificate by HTTPS."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, media, body = registry.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(path: Path) -> Path:
    """Make a key and a certificate of its own for this machine, in one file."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-subj", "/CN=axsched-test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-days", "1", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as file:
        file.write(path.with_suffix(".crt").read_bytes())
    return path


def podman_takes_http(registry: Registry, path: Path) -> dict[str, str]:
    """Write a configuration by which podman asks the registry without TLS; the variable that names it."""
    path.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    return {"CONTAINERS_REGISTRIES_CONF": str(path)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"

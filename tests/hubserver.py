"""A small stand-in for the Hugging Face hub on localhost: makes repositories, takes commits, gives files out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from serverthread import serving

COMMIT = "a" * 40


class Hub:
    """What the server holds: repository id to file name to content, and the calls that came in."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.calls: list[str] = []


@contextmanager
def serve_hub() -> Iterator[tuple[str, Hub]]:
    """The server's address and what it holds, while the block runs."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, content: bytes, kind: str = "application/json", status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self) -> None:
            hub.calls.append(f"{self.command} {self.path}")
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                files = hub.files.get("/".join(parts[2:4]))
                if files is None:
                    self.answer(b'{"error": "Repository not found"}', status=404, X_Error_Code="RepoNotFound")
                    return
                if parts[4:5] == ["tree"]:
                    listed = [
                        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for name, content in files.items()
                    ]
                    self.answer(json.dumps(listed).encode())
                    return
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                record = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
                self.answer(json.dumps(record).encode())
                return
            name = "/".join(parts[4:])
            content = hub.files.get("/".join(parts[:2]), {}).get(name)
            if content is None:
                self.answer(b"{}", status=404, X_Error_Code="EntryNotFound")
                return
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(content, "application/octet-stream", ETag=etag, X_Repo_Commit=COMMIT)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            hub.calls.append(f"POST {self.path}")
            body = self.body()
            if self.path.startswith("/api/repos/create"):
                asked = json.loads(body)
                name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
                hub.files.setdefault(name, {})
                self.answer(json.dumps({"url": f"http://{self.headers['Host']}/{name}", "id": name}).encode())
            elif "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                answer = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
                self.answer(json.dumps({"files": answer}).encode())
            elif "/commit/" in self.path:
                repo = "/".join(self.path.strip("/").split("/")[2:4])
                for line in body.decode().splitlines():
                    item = json.loads(line)
                    if item["key"] == "file":
                        hub.files[repo][item["value"]["path"]] = base64.b64decode(item["value"]["content"])
                url = f"http://{self.headers['Host']}/{repo}/commit/{COMMIT}"
                self.answer(json.dumps({"commitUrl": url, "commitOid": COMMIT, "success": True}).encode())
            elif "/validate-yaml" in self.path:
                self.answer(b'{"errors": [], "warnings": []}')
            else:
                self.answer(b"{}", status=404)

    with serving(Handler) as url:
        yield url, hub

"""The server: Flask's application with the page and what the page asks for, and `serve`, which runs
it. Only pages of this server may ask it anything (see `_guard`).
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from pathlib import Path
from typing import Any

from ..nn import Module
from ..text.terminal import shown
from ..text.tokenizers import Tokenizer
from .asked import read_asked
from .desk import Desk

MOST_BYTES = 64 * 1024  # of a request
PATIENCE = 30  # seconds for one read or write: who reads no further loses the place
FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {  # nothing from elsewhere is loaded or run, and no other page may frame this one
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(
    model: Module,
    tokenizer: Tokenizer,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str = "",
    **limits: int,
) -> None:
    """Show the page at http://host:port/ until Ctrl-C. port 0: any free one; name: of the model.

    limits: those of `application`. There is no password: on another address than 127.0.0.1
    everybody who can reach it may ask. ImportError: no Flask. OSError: the port is taken.
    """
    app = application(model, tokenizer, name=name, host=host, **limits)
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        timeout = PATIENCE

        def log_request(self, *args: Any) -> None:
            pass

    if not 0 <= port < 2**16:
        raise ValueError(f"[serve] port must be in 0..65535, got {port}; 0 finds a free one")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"[serve] host and port must be free to listen on, got {host!r} and {port}"
        raise OSError(f"{message} ({error}); another port?") from error
    if ipaddress.ip_address(listening.getsockname()[0]).is_unspecified:
        listening.close()
        message = f"[serve] host must be one address or name of this machine, got {host!r}"
        raise ValueError(f"{message}; the one that browsers ask for?")
    with listening:
        options: dict[str, Any] = {"fd": listening.fileno(), "request_handler": Handler}
        server = make_server(host, port, app, threaded=True, **options)
        address = f"http://{_in_address(host)}:{server.port}/"
        print(shown(f"{name or 'the model'} is at {address} until Ctrl-C"), flush=True)
        server.serve_forever()


def application(
    model: Module,
    tokenizer: Tokenizer,
    *,
    name: str = "",
    host: str = "127.0.0.1",
    max_new_tokens: int = 1024,
    max_requests: int = 8,
) -> Any:
    """Flask's application. max_new_tokens: the longest text; max_requests: how many at once.

    ImportError: Flask is not installed. ValueError: host is nothing that a browser asks for.
    """
    try:
        from flask import Flask, Response, request
        from werkzeug.exceptions import HTTPException
    except ImportError as error:
        message = "[serve] the page needs Flask, which is not installed"
        raise ImportError(f"{message}; pip install 'tinygrad_lm[serve]'") from error
    if host in ("", "0.0.0.0", "::"):
        message = f"[serve] host must be one address or name of this machine, got {host!r}"
        raise ValueError(f"{message}; the one that browsers ask for?")
    desk, places = Desk(model, tokenizer), threading.BoundedSemaphore(max_requests)
    info = {"name": name, "max_new_tokens": max_new_tokens, **desk.info()}
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    def answer(kind: str) -> Any:
        usual = desk.block_size // 2 if kind == "messages" and desk.block_size else None
        lines = desk.lines(read_asked(request.get_data(), kind, max_new_tokens, usual), kind)
        if not places.acquire(blocking=False):
            return {"error": f"[serve] {max_requests} at once are the most; try again soon"}, 503
        response = Response(lines, mimetype="application/x-ndjson")
        response.call_on_close(places.release)  # it was read to its end, or left
        return response

    def refused(error: Exception) -> Any:
        if not str(error).startswith("["):  # not one of our messages: a bug
            raise error
        return {"error": str(error)}, 400

    def dressed(response: Any) -> Any:
        response.headers.update(HEADERS)
        return response

    for address, file in FILES.items():
        path = Path(__file__).with_name(file)
        content = {"response": path.read_bytes(), "mimetype": KINDS[path.suffix]}
        app.add_url_rule(address, file, lambda content=content: Response(**content))
    app.add_url_rule("/info", "info", lambda: info)
    app.add_url_rule("/generate", "generate", lambda: answer("prompt"), methods=["POST"])
    if info["chat"]:
        app.add_url_rule("/chat", "chat", lambda: answer("messages"), methods=["POST"])
    app.before_request(lambda: _guard(request, _in_address(host)))
    app.after_request(dressed)
    app.register_error_handler(HTTPException, lambda e: ({"error": e.description}, e.code))
    app.register_error_handler(ValueError, refused)
    app.register_error_handler(TypeError, refused)
    return app


def _guard(request: Any, host: str) -> Any:
    """Refuse what a stranger's page may send from a browser on this machine: under a name that was
    made to lead here (DNS rebinding), across origins, or as a form."""
    came, origin = request.headers.get("Host", "").lower(), request.headers.get("Origin")
    if re.sub(r":\d+$", "", came) not in ("localhost", "127.0.0.1", "[::1]", host.lower()):
        return {"error": f"[serve] Host must be {host}, got {came[:60]!r}; see --host"}, 403
    if origin is not None and origin.lower() != f"http://{came}":
        return {"error": f"[serve] Origin must be this page, got {origin[:60]!r}; a proxy?"}, 403
    if request.method == "POST" and not request.is_json:
        return {"error": "[serve] Content-Type must be application/json, got another; a form?"}, 400
    return None


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host

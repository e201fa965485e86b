"""A web page for who has no Grafana: what the panels of the dashboards ask, drawn, and traces as text."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from observe.traces import told
from support.prometheus import selected

from helm import panels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from observe.traces import Traces

PAGE: Final = Path(__file__).with_name("page.html")
_INTERVAL: Final = "20s"
_NEWEST: Final = 40


def boards() -> list[dict[str, Any]]:
    """Returns what there is to draw."""
    return [
        {
            "title": board.title,
            "panels": [
                {
                    "question": panel.question,
                    "description": panel.description,
                    "unit": panel.unit,
                    "runbook": panel.runbook,
                    "queries": [
                        {"expression": selected(query.expression, _INTERVAL), "legend": query.legend}
                        for query in panel.queries
                    ],
                }
                for _, row in board.rows
                for panel in row
            ],
        }
        for board in panels.BOARDS
    ]


@contextmanager
def running_pages(prometheus: httpx.Client, spans: Traces) -> Iterator[str]:
    """Serves the page, and yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            try:
                kind, body = _answer(path, query, prometheus, spans)
            except (KeyError, httpx.HTTPError) as error:
                self.send_error(HTTPStatus.NOT_FOUND, type(error).__name__)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", f"{kind}; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _answer(path: str, query: str, prometheus: httpx.Client, spans: Traces) -> tuple[str, bytes]:
    """Returns the content type and the body of a page.

    Raises:
        KeyError: There is no such page, or no such trace.
    """
    if path.startswith("/trace/"):
        return "text/plain", told(spans.known(path.removeprefix("/trace/"))).encode()
    pages: Mapping[str, tuple[str, Callable[[], bytes]]] = {
        "/": ("text/html", PAGE.read_bytes),
        "/boards": ("application/json", lambda: json.dumps(boards()).encode()),
        "/traces": ("application/json", lambda: _newest(spans)),
        "/query_range": ("application/json", lambda: prometheus.get(f"/api/v1/query_range?{query}").content),
    }
    kind, body = pages[path]
    return kind, body()


def _newest(spans: Traces) -> bytes:
    listed = [
        {
            "id": trace[0].trace_id,
            "name": min(trace, key=lambda span: span.start).name,
            "spans": len(trace),
            "ms": (max(span.end for span in trace) - min(span.start for span in trace)) / 1e6,
        }
        for trace in spans.newest(_NEWEST)
    ]
    return json.dumps(listed).encode()

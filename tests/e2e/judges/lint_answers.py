"""httplint's notes on answers that were received.

Reads one exchange a line from standard input, as JSON, all of them before the first verdict, and writes one
verdict a line. tests/e2e/judges/notes.rs gives the orders.
"""

import json
import sys
import time

from httplint.message import HttpRequestLinter, HttpResponseLinter


def fields(pairs):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def lint(exchange):
    now = time.time()
    request = HttpRequestLinter(start_time=now)
    request.process_request_topline(
        exchange["method"].encode(), exchange["target"].encode(), b"HTTP/1.1"
    )
    request.process_headers(fields(exchange["asked"]))
    request.finish_content(True)
    response = HttpResponseLinter(start_time=now)
    response.request = request
    request.response = response
    response.base_uri = "http://site.example" + exchange["target"]
    response.is_head_response = exchange["method"] == "HEAD"
    response.process_response_topline(b"HTTP/1.1", str(exchange["status"]).encode())
    response.process_headers(fields(exchange["headers"]))
    response.feed_content(bytes(exchange["body"]))
    response.finish_content(True)
    return response.notes


def flat(notes):
    for note in notes:
        yield note
        yield from flat(note.subnotes)


exchanges = [json.loads(line) for line in sys.stdin]
for exchange in exchanges:
    notes = [
        {"note": type(note).__name__, "level": note.level.value, "summary": str(note.summary)}
        for note in flat(lint(exchange))
    ]
    print(json.dumps({"answer": exchange["answer"], "notes": notes}))

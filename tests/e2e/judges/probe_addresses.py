"""REDbot's notes on addresses that it asks by itself: negotiation, ranges and validators.

Reads one address from standard input, as JSON, and writes the verdict: its event loop runs once.
tests/e2e/judges/notes.rs gives the order.
"""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource

# The server runs on this machine, which REDbot would not ask otherwise.
parser = ConfigParser()
parser.read_dict({"redbot": {"enable_local_access": "True"}})
config = parser["redbot"]


def flat(notes):
    for note in notes:
        yield note
        yield from flat(note.subnotes)


def probe(url):
    resource = HttpResource(config)
    resource.set_request(url)

    @thor.events.on(resource)
    def check_done():
        thor.stop()

    resource.check()
    if not resource.check_done:
        thor.run()
    if resource.fetch_error:
        sys.exit(f"{url}: {resource.fetch_error.desc}")
    exchanges = [resource, *resource.subreqs.values()]
    found = {}
    for exchange in exchanges:
        for note in flat(exchange.response.notes):
            name = type(note).__name__
            found[name] = {
                "note": name,
                "level": note.level.value,
                "summary": str(note.summary),
            }
    return {
        "notes": list(found.values()),
        "supports": {
            "ranges": resource.partial_support,
            "tags": resource.inm_support,
            "dates": resource.ims_support,
            "gzip": resource.gzip_support,
        },
    }


order = json.load(sys.stdin)
print(json.dumps({"answer": order["answer"]} | probe(order["url"])))

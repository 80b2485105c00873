"""A CMS as small as one can be: a form, and a folder of finished pages.

It stands for whatever writes your site. All that onsave asks of it is that a page is written whole, or
at least quickly: a file that is renamed into its place is live a few milliseconds later.
"""

import argparse
import html
import os
import re
import tempfile
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>A small CMS</title>
<style>body {{ font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }}
label, input, textarea {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
label {{ margin-top: 1rem }}</style>
<h1>A small CMS</h1>
<p role="status">{said}</p>
<form method="post">
<label for="name">Page</label>
<input id="name" name="name" value="{name}" required pattern="[a-z0-9\\-]+">
<label for="title">Title</label>
<input id="title" name="title" value="{title}" required>
<label for="text">Text</label>
<textarea id="text" name="text" rows="8">{text}</textarea>
<p><button>Save</button> <button name="remove" value="yes">Remove the page</button></p>
</form>
<ul>{pages}</ul>
</html>
"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
{paragraphs}
</html>
"""

NAME = re.compile(r"[a-z0-9-]{1,60}")
MOST_BYTES = 1_000_000


def write_whole(path, text):
    """Writes beside the page and renames over it, so that nobody sees half of it."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".saving-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(beside, 0o644)
    os.replace(beside, path)


def page(title, text):
    """Returns a page as the site has it."""
    paragraphs = (part.strip() for part in text.replace("\r", "").split("\n\n"))
    paragraphs = "\n".join(f"<p>{html.escape(part)}</p>" for part in paragraphs if part)
    return PAGE.format(title=html.escape(title), paragraphs=paragraphs)


class Handler(BaseHTTPRequestHandler):
    site = Path()

    def do_GET(self):
        self.answer(200, "", {})

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MOST_BYTES:
            self.answer(413, "That is too much for a page.", {})
            return
        body = self.rfile.read(length).decode()
        form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True))
        name = form.get("name", "")
        if not NAME.fullmatch(name):
            self.answer(422, "A page's name has small letters, digits and hyphens.", form)
            return
        path = self.site / f"{name}.html"
        if form.get("remove"):
            path.unlink(missing_ok=True)
            self.answer(200, f"Removed {name}.", {})
            return
        write_whole(path, page(form.get("title", name), form.get("text", "")))
        self.answer(200, f"Saved {name}.", form)

    def answer(self, status, said, form):
        pages = sorted(path.stem for path in self.site.glob("*.html"))
        values = {key: html.escape(form.get(key, "")) for key in ("name", "title", "text")}
        listed = "".join(f"<li>{html.escape(name)}</li>" for name in pages)
        body = FORM.format(said=html.escape(said), pages=listed, **values).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True, help="the folder of finished pages")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    arguments.site.mkdir(parents=True, exist_ok=True)
    Handler.site = arguments.site
    if not (arguments.site / "index.html").exists():
        write_whole(arguments.site / "index.html", page("It works", "Change this page in the CMS."))
    server = ThreadingHTTPServer(("0.0.0.0", arguments.port), Handler)
    print(f"the CMS is at port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

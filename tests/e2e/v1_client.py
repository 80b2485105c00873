"""A client of the first protocol generation, written from its description alone.

    python3 v1_client.py URL SECRET FOLDER [form]

Publishes FOLDER: manifest, begin, delete what is gone, put what differs, commit; then prints the
deploy's id. `form` encodes the path as HTML forms do (`+` for a space) instead of as
encodeURIComponent does. Standard library only.
"""

import hashlib
import hmac
import json
import pathlib
import sys
import time
import urllib.parse
import urllib.request


def call(method, target, body=b""):
    stamp = str(int(time.time()))
    text = "\n".join([stamp, method, target, hashlib.sha256(body).hexdigest()])
    mac = hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(URL + target, data=body or None, method=method)
    request.add_header("X-CMS-Timestamp", stamp)
    request.add_header("X-CMS-Signature", "sha256=" + mac)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def encoded(path):
    if FORM:
        return urllib.parse.quote_plus(path)
    return urllib.parse.quote(path, safe="!'()*-._~")


URL, SECRET = sys.argv[1], sys.argv[2].encode()
FOLDER, FORM = pathlib.Path(sys.argv[3]), sys.argv[4:] == ["form"]

files = {
    path.relative_to(FOLDER).as_posix(): path.read_bytes()
    for path in FOLDER.rglob("*")
    if path.is_file()
}
remote = call("GET", "/_icd/manifest")["files"]
deploy = call("POST", "/_icd/deploys")["deployId"]
for path in remote.keys() - files.keys():
    assert call("DELETE", f"/_icd/deploys/{deploy}/files?path={encoded(path)}")["ok"]
for path, body in files.items():
    if remote.get(path) != hashlib.sha256(body).hexdigest():
        assert call("PUT", f"/_icd/deploys/{deploy}/files?path={encoded(path)}", body)["ok"]
committed = call("POST", f"/_icd/deploys/{deploy}/commit")
assert committed["ok"]
print(committed["deployId"])

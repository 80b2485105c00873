//! The pages that the server itself has: for what the site has no page for.

/// Shown before the first deploy; it asks again by itself, so that the first publish appears.
pub(super) const WAITING: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta http-equiv=refresh content=1><title>Waiting for the first deploy</title>\
<h1>Waiting for the first deploy</h1>\
<p>This server runs, and nothing was published to it yet. \
Publish a folder with <code>onsave publish</code>; this page then shows it.\n";

/// Shown where a site without a `404.html` has nothing.
pub(super) const NOT_FOUND: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Not found</title><h1>Not found</h1><p>There is no such page here.\n";

/// Shown where a rule of the site says that something is gone, without a page of its own.
pub(super) const GONE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Gone</title><h1>Gone</h1><p>There was a page here, and it does not come back.\n";

/// Shown for a path that no file can have.
pub(super) const BAD_PATH: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Bad request</title><h1>Bad request</h1><p>The address is malformed.\n";

/// Shown when an object cannot be read; the log says why.
pub(super) const FAILED: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Server error</title><h1>Server error</h1><p>The page could not be read.\n";

/// Shown for a method that only changes things.
pub(super) const METHOD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Method not allowed</title><h1>Method not allowed</h1><p>This site can only be read.\n";

/// Shown when the peer's conditions do not hold.
pub(super) const PRECONDITION: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Precondition failed</title><h1>Precondition failed</h1><p>The page is another one now.\n";

/// Shown when the peer asks for bytes that are not there.
pub(super) const RANGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Range not satisfiable</title><h1>Range not satisfiable</h1><p>There are not so many bytes.\n";

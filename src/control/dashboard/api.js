// The daemon: calls, the token that acting needs, and the events that it tells.
//
// The token comes in the fragment that `onsave open` puts, and stays in this tab's storage. The events are
// asked for again and again when the daemon is gone, so that the page comes back with it.

const TOKEN = 'onsave-token';
const LOG_LINES = 200;
const READ_LIMIT_MS = 60_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;

/** A call that was refused, or that nobody answered (`code` is then `gone`). */
export class Refused extends Error {
  constructor({ code, error, hint }) {
    super(error);
    this.code = code;
    this.hint = hint;
  }
}

const GONE = { code: 'gone', error: 'onsave does not answer', hint: 'does `onsave watch` run?' };

/** Returns the calls; `onWrongToken` hears when the token is none of this daemon's. */
export function createApi(onWrongToken) {
  let token = takeToken() ?? stored();

  async function ask(path, options) {
    let answer;
    let said;
    try {
      answer = await fetch(path, options);
      said = await answer.json();
    } catch {
      throw new Refused(GONE);
    }
    if (answer.ok) return said;
    if (answer.status === 401) {
      forget();
      onWrongToken();
    }
    throw new Refused(said);
  }

  function forget() {
    token = null;
    remember(null);
  }

  return {
    get: (path) => ask(path, { signal: AbortSignal.timeout(READ_LIMIT_MS) }),
    // What acts is waited for: its end is told by the daemon alone.
    post: (path, body = {}) =>
      ask(path, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
    mayAct: () => token !== null,
    forget,
    /** Takes the token of an address that was opened in this tab once more. */
    retake: () => {
      token = takeToken() ?? token;
    },
  };
}

/** Takes the token out of the address, so that it stands in no history and on no screen. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return null;
  history.replaceState(null, '', location.pathname + location.search);
  remember(token);
  return token;
}

// A browser may forbid storage; then the token is known until the page is left.
function remember(token) {
  try {
    if (token === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  } catch {
    // Nothing to do about it.
  }
}

function stored() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
}

/**
 * Listens to the daemon for as long as the page is there. `onOpen` comes before the events of each
 * connection, `onGone` when one is lost or does not come about.
 */
export function listen({ onOpen, onStatus, onLog, onGone }) {
  let source = null;
  let timer = null;
  let wait = FIRST_WAIT_MS;

  function open() {
    clearTimeout(timer);
    timer = null;
    source = new EventSource(`/v1/events?logs=${LOG_LINES}`);
    source.addEventListener('open', () => {
      wait = FIRST_WAIT_MS;
      onOpen();
    });
    source.addEventListener('status', (event) => onStatus(JSON.parse(event.data)));
    source.addEventListener('log', (event) => onLog(JSON.parse(event.data)));
    source.addEventListener('error', () => {
      // The browser's own repetition gives up at an answer that is no stream.
      source.close();
      onGone();
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    });
  }

  // Who looks at the page again should not wait.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && timer !== null) open();
  });
  open();
}

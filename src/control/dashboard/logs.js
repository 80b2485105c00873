// The log as it comes: lines of the stream, a least level, and an end that is followed until somebody scrolls.

import { byId, element } from './dom.js';
import { clock, moment } from './format.js';

const MOST_LINES = 1_000;
const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
/** How far from its end a list still counts as followed, in pixels. */
const NEAR = 24;

/** Returns the functions that begin anew and that add a line. */
export function createLogs() {
  const frame = byId('log');
  const lines = byId('lines');
  const least = byId('least');
  const newest = byId('newest');
  let waiting = [];
  let isNew = false;
  let follows = true;
  let width = 0;

  function flush() {
    const some = waiting.slice(-MOST_LINES);
    waiting = [];
    if (isNew) lines.replaceChildren();
    isNew = false;
    lines.append(...some.map(row));
    while (lines.childElementCount > MOST_LINES) lines.firstElementChild.remove();
    settle();
  }

  function settle() {
    const most = LEVELS.indexOf(least.value);
    const isShown = (line) => LEVELS.indexOf(line.dataset.level) <= most;
    byId('no-lines').hidden = [...lines.children].some(isShown);
    if (follows) frame.scrollTop = frame.scrollHeight;
    newest.hidden = follows;
    width = frame.clientWidth;
  }

  function toEnd() {
    follows = true;
    settle();
  }

  frame.addEventListener('scroll', () => {
    // Lines that wrap elsewhere move by themselves; nobody scrolled.
    if (frame.clientWidth !== width) return;
    follows = frame.scrollHeight - frame.scrollTop - frame.clientHeight < NEAR;
    newest.hidden = follows;
  });
  new ResizeObserver(settle).observe(frame);
  newest.addEventListener('click', () => {
    toEnd();
    // The button goes, and the focus would with it.
    frame.focus();
  });
  least.addEventListener('change', () => {
    frame.dataset.least = least.value;
    toEnd();
  });
  byId('fields').addEventListener('change', (event) => {
    frame.classList.toggle('full', event.target.checked);
    settle();
  });
  frame.dataset.least = least.value;

  return {
    /** The lines that come from now on are those that a new connection begins with. */
    anew() {
      waiting = [];
      isNew = true;
    },
    add(line) {
      // Many come at once; drawing each would cost a layout each.
      if (waiting.length === 0) setTimeout(flush, 50);
      waiting.push(line);
    },
  };
}

function row(line) {
  const date = { datetime: new Date(line.unixMs).toISOString(), title: moment(line.unixMs) };
  const at = element('time', date, clock(line.unixMs));
  const fields = Object.entries(line.fields).map(([name, value]) => `${name}=${value}`);
  const rest = fields.length ? element('span', { class: 'quiet fields' }, ` ${fields.join(' ')}`) : null;
  const level = element('span', { class: 'level' }, line.level);
  const message = element('span', { class: 'message' }, line.message, rest);
  return element('li', { 'data-level': line.level }, at, ' ', level, ' ', message);
}

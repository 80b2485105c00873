// How the site stands: the word with its colour and shape, title and icon, what is live, and what is read out.

import { byId, drawn, element, say, sayWithCode } from './dom.js';
import { timeAgo } from './format.js';

/** A state that lasts less than this is not shown: a publish of 30 ms would only flicker. */
const FLICKER_MS = 150;
/** A state is read out once it lasts this long. */
const SETTLED_MS = 1_500;

const RING = 'M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Z';
const SQUARE = 'M6 2.5h12a3.5 3.5 0 0 1 3.5 3.5v12a3.5 3.5 0 0 1-3.5 3.5H6A3.5 3.5 0 0 1 2.5 18V6A3.5 3.5 0 0 1 6 2.5Z';
const DIAMOND = 'M12 .8 23.2 12 12 23.2.8 12Z';
const OCTAGON = 'M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9Z';
const TRIANGLE = 'M12 1.8 23 21.5H1Z';

/** What is shown of each state: its tone, its outline and the sign inside, and words where there is no detail. */
const STATES = {
  starting: { word: 'starting', tone: 'idle', shape: RING, sign: 'M7 12h.01M12 12h.01M17 12h.01', says: 'Asking the server what it has.' },
  live: { word: 'live', tone: 'good', shape: RING, sign: 'm7.5 12.5 3 3 6-6.5', says: 'The site shows what the folder has.' },
  publishing: { word: 'publishing', tone: 'busy', shape: RING, sign: 'M12 16.5v-9m-4 4 4-4 4 4', says: 'A save is on its way.' },
  building: { word: 'building', tone: 'busy', shape: SQUARE, sign: 'M12 7v5l3.5 2', says: 'The build command runs.' },
  paused: { word: 'paused', tone: 'idle', shape: SQUARE, sign: 'M9 8v8m6-8v8', says: 'Saves are not published.' },
  held: { word: 'held', tone: 'care', shape: DIAMOND, sign: 'M9.8 10a2.2 2.2 0 1 1 3.3 1.9c-.7.4-1.1.8-1.1 1.6M12 16.6h.01' },
  leftAlone: { word: 'left alone', tone: 'care', shape: SQUARE, sign: 'M9.5 8 6.5 11l3 3M7 11h7a3 3 0 0 1 0 6' },
  waiting: { word: 'waiting', tone: 'care', shape: RING, sign: 'M12 7v5l3.5 2' },
  unreachable: { word: 'unreachable', tone: 'bad', shape: RING, sign: 'm8.5 8.5 7 7m0-7-7 7', says: 'The server does not answer.' },
  refused: { word: 'refused', tone: 'bad', shape: OCTAGON, sign: 'M7.5 12h9' },
  failed: { word: 'failed', tone: 'bad', shape: TRIANGLE, sign: 'M12 9.5v5M12 17.6h.01' },
  gone: { word: 'gone', tone: 'bad', shape: DIAMOND, sign: 'm9 9 6 6m0-6-6 6', says: 'onsave does not run. Start it with `onsave watch`; this page comes back by itself.' },
};

const TONES = { good: '#1a7f4b', busy: '#2563c9', care: '#9a5b00', bad: '#c0282d', idle: '#5c6370' };
const FLEETING = new Set(['publishing', 'building']);
const STILL_TRUE = { leftAlone: 'It stays so until the next save.', unreachable: 'It is tried again and again.' };

/** Returns the function that shows a status, and the one that says that the daemon is gone. */
export function createState() {
  let shown = null;
  let showing = null;
  let reading = null;
  let readOut = null;
  let app = 'onsave';

  function turnTo(word, detail) {
    clearTimeout(showing);
    const isFleeting = FLEETING.has(word) && shown !== null && shown !== word;
    if (isFleeting) showing = setTimeout(() => show(word, detail), FLICKER_MS);
    else show(word, detail);
  }

  function show(word, detail) {
    const state = STATES[word] ?? { ...STATES.starting, word };
    const words = text(word, state, detail);
    sayWithCode(byId('detail'), words);
    if (shown !== word) {
      shown = word;
      document.body.dataset.tone = state.tone;
      document.body.dataset.state = word;
      say(byId('state-word'), state.word);
      byId('state-shape').replaceChildren(...marks(state));
      document.querySelector('link[rel=icon]').href = icon(state);
    }
    say(document.querySelector('title'), `${state.word} · ${app} · onsave`);
    readSoon(`${app}: ${state.word}. ${words.replaceAll('`', '')}`);
  }

  function readSoon(words) {
    clearTimeout(reading);
    // The first state is read with the page.
    readOut ??= words;
    reading = setTimeout(() => {
      if (readOut !== words) byId('announcer').textContent = words;
      readOut = words;
    }, SETTLED_MS);
  }

  return {
    status(status) {
      app = status.app;
      // The question says the rest.
      turnTo(status.state, status.held ? 'a publish waits for an answer' : status.detail);
      say(byId('app'), status.app);
      say(byId('folder'), status.dir);
      link(byId('site'), status.url);
      live(byId('live'), status.live);
      say(byId('about'), `onsave ${status.version}, process ${status.pid}`);
    },
    gone() {
      turnTo('gone', null);
    },
  };
}

function text(word, state, detail) {
  const words = detail ? sentence(detail) : (state.says ?? '');
  return STILL_TRUE[word] ? `${words} ${STILL_TRUE[word]}` : words;
}

/** Returns a text of the daemon as a sentence; a path or a name at its beginning stays as it is. */
function sentence(words) {
  const first = /^[a-z]+ /.test(words) ? words.charAt(0).toUpperCase() + words.slice(1) : words;
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function marks({ shape, sign }) {
  return [drawn('path', { class: 'shape', d: shape }), drawn('path', { class: 'sign', d: sign })];
}

function icon({ tone, shape, sign }) {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="${TONES[tone]}" d="${shape}"/>`
    + `<path fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" d="${sign}"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function link(node, url) {
  // Only what a browser visits: a link is a thing to click.
  if (/^https?:\/\//.test(url)) node.href = url;
  else node.removeAttribute('href');
  say(node, url.replace(/\/$/, ''));
}

function live(node, deploy) {
  const key = deploy ? `${deploy.deployId} ${deploy.sinceUnixMs}` : 'none';
  if (node.dataset.deploy === key) return;
  node.dataset.deploy = key;
  if (deploy) {
    const id = element('span', { class: 'id' }, deploy.deployId);
    node.replaceChildren('Deploy ', id, ' went live ', timeAgo(deploy.sinceUnixMs));
  } else {
    node.replaceChildren('What is live is not known yet.');
  }
}

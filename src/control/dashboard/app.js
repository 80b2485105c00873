// The dashboard's wiring: what the daemon tells goes to the parts of the page, what is clicked goes to the
// daemon. Each part is a module of its own; this one owns the switch, the held question and when to ask again.

import { createApi, listen } from './api.js';
import { createDeliveries } from './deliveries.js';
import { createDeploys } from './deploys.js';
import { byId, say, sayWithCode, whileBusy } from './dom.js';
import { changes, count, keepTimesRight, milliseconds } from './format.js';
import { createLogs } from './logs.js';
import { createNotice } from './notice.js';
import { createPending } from './pending.js';
import { createPublishes } from './publishes.js';
import { createServer } from './server.js';
import { createState } from './state.js';

/** Saves follow each other quickly; the server is asked once they paused. */
const CALM_MS = 600;
/** How often the folder is looked at while it is not published by itself. */
const LOOK_MS = 15_000;
/** How often the server is asked about its disk without another reason. */
const SERVER_MS = 120_000;
/** States in which the server answers. */
const ANSWERS = new Set(['live', 'paused', 'held', 'leftAlone', 'waiting', 'building', 'publishing', 'failed']);
/** States in which saves wait, so that what is pending grows without a word. */
const HOLDS = new Set(['paused', 'held', 'leftAlone']);

const api = createApi(() => {
  sayWithCode(byId('read-only'), "The token is not this onsave's any more, so this page only reads. Run `onsave open` to act.");
  showWhoMayAct();
});
const notice = createNotice();
const showState = createState();
const showPublishes = createPublishes(api);
const logs = createLogs();
const pending = createPending(api);
const loadDeliveries = createDeliveries({ api, notice });
const loadServer = createServer({ api, notice });
const loadDeploys = createDeploys({ api, notice, publishNow });

let status = null;
let isGone = false;
let leftHeld = null;
let calm = null;

function showWhoMayAct() {
  const acts = api.mayAct() && !isGone;
  document.body.classList.toggle('reads', !api.mayAct());
  document.body.classList.toggle('gone', isGone);
  byId('switch').disabled = !acts;
  byId('read-only').hidden = api.mayAct();
}

function took(told) {
  const before = status;
  if (before && (before.app !== told.app || before.dir !== told.dir)) {
    // Another site's onsave has the port now: neither the token nor what is shown is its.
    api.forget();
    location.reload();
    return;
  }
  if (before && before.version !== told.version) {
    location.reload();
    return;
  }
  status = told;
  document.body.classList.remove('unknown');
  showState.status(told);
  showPublishes(told);
  byId('switch').setAttribute('aria-checked', String(!told.paused));
  showHeld(told.held);
  const isOther = isGone || !before || whatMatters(before) !== whatMatters(told);
  isGone = false;
  showWhoMayAct();
  if (!ANSWERS.has(told.state)) pending.unknown('Not known while the server does not answer.');
  if (isOther) askSoon();
}

/** Returns what the server's deploys and the pending files depend on. */
function whatMatters({ state, live, held }) {
  return [state, live?.deployId, held?.removes].join();
}

function askSoon() {
  clearTimeout(calm);
  calm = setTimeout(askAgain, document.querySelector('#deploys > li') ? CALM_MS : 0);
}

function askAgain() {
  // A page that nobody sees asks when it is seen.
  if (isGone || document.hidden || !ANSWERS.has(status.state)) return;
  loadDeploys();
  loadServer();
  loadDeliveries();
  pending.look();
}

function showHeld(held) {
  const key = held ? `${status.sinceUnixMs} ${held.removes} ${held.of}` : null;
  const isLeft = key !== null && key === leftHeld;
  byId('held').hidden = key === null;
  byId('held-leave').hidden = isLeft;
  if (!held) return;
  say(byId('held-question'), isLeft
    ? `Left as it is: ${held.removes} of ${count(held.of, 'file')} stay on the site.`
    : `This would remove ${held.removes} of ${count(held.of, 'file')}. Publish it?`);
  say(byId('held-more'), isLeft
    ? 'Once the files are back, it goes on by itself.'
    : 'A folder that is suddenly almost empty is often a mistake, so the site stays as it is until you say so.');
}

function leaveHeld() {
  leftHeld = `${status.sinceUnixMs} ${status.held.removes} ${status.held.of}`;
  showHeld(status.held);
  byId('held-publish').focus();
}

async function publishNow(order = {}) {
  try {
    tellOf(await api.post('/v1/publish', order));
  } catch (error) {
    notice.failed(error);
  }
  askSoon();
}

function tellOf(answer) {
  switch (answer.status) {
    case 'published':
      return notice.done(`Published in ${milliseconds(answer.tookMs)}: ${changes(answer)}.`);
    case 'inStep':
      return notice.done('There was nothing to publish: the site shows what the folder has.');
    case 'held':
      return notice.failed({ message: `It is held: it would remove ${answer.removes} of ${count(answer.of, 'file')}` });
    default:
      return notice.failed({ message: answer.error });
  }
}

async function turnSwitch() {
  try {
    // What the answer says is told by the events too, and those are in order.
    await api.post(status.paused ? '/v1/resume' : '/v1/pause');
    notice.clear();
  } catch (error) {
    notice.failed(error);
  }
}

function acting(id, work) {
  const button = byId(id);
  button.addEventListener('click', () => whileBusy(button, work));
}

sayWithCode(byId('read-only'), 'This page only reads. Run `onsave open` to act: it brings the token that acting needs.');
acting('publish', () => publishNow());
acting('switch', turnSwitch);
acting('held-publish', () => publishNow({ allowRemovals: true }));
byId('held-leave').addEventListener('click', leaveHeld);
addEventListener('hashchange', () => {
  api.retake();
  showWhoMayAct();
});
document.addEventListener('visibilitychange', () => {
  if (status) askAgain();
});
setInterval(() => {
  if (status && !document.hidden && !isGone && HOLDS.has(status.state)) pending.look();
}, LOOK_MS);
setInterval(() => {
  if (status) askAgain();
}, SERVER_MS);
keepTimesRight();
showWhoMayAct();
listen({
  onOpen: logs.anew,
  onStatus: took,
  onLog: logs.add,
  onGone() {
    isGone = true;
    document.body.classList.remove('unknown');
    showState.gone();
    pending.unknown('Not known while onsave does not run.');
    showWhoMayAct();
  },
});

// What others are still to be told of publishes: what waits, what was put aside, and sending that again.

import { byId, element, keep, say, sayWithCode, whileBusy } from './dom.js';
import { count, timeAgo } from './format.js';
import { ask } from './notice.js';
import { why } from './paths.js';

/** What is delivered at once is gone before anybody looks; what fails is seen then. */
const AFTER_A_PUBLISH_MS = 3_000;
/** How often is asked while something waits or was put aside. */
const WAITING_MS = 5_000;

/** Returns the function that asks for the deliveries and shows them, where there are any. */
export function createDeliveries({ api, notice }) {
  const section = byId('deliveries');
  const note = byId('deliveries-note');
  const list = byId('deliveries-list');
  let timer = null;

  async function load(isFirst = true) {
    clearTimeout(timer);
    try {
      show((await api.get('/v1/deliveries')).deliveries);
    } catch (error) {
      if (!section.hidden) sayWithCode(note, why(error));
    }
    const isShown = !section.hidden && !document.hidden;
    if (isFirst || isShown) timer = setTimeout(() => load(false), isFirst ? AFTER_A_PUBLISH_MS : WAITING_MS);
  }

  function show(deliveries) {
    const dead = deliveries.filter(({ state }) => state === 'dead').length;
    const waiting = deliveries.length - dead;
    const parts = [dead ? `${count(dead, 'delivery', 'deliveries')} failed for good` : null, waiting ? `${waiting} on the way` : null];
    section.hidden = deliveries.length === 0;
    say(note, `${parts.filter(Boolean).join(', ')}.`);
    keep(list, deliveries, { key: ({ id }) => id, make: row, update: renew });
  }

  function row({ id, entry, publishedUnixMs, files, paths }) {
    const more = files > 1 ? ` and ${files - 1} more` : '';
    const act = (verb, label, done) => {
      const meant = element('span', { class: 'unseen' }, ` ${id}`);
      const button = element('button', { type: 'button', class: 'acting' }, label, meant);
      button.addEventListener('click', () => whileBusy(button, () => post(id, verb, done)));
      return button;
    };
    return element(
      'li',
      { class: 'delivery' },
      element('p', {}, element('strong', {}, entry), ' ', element('span', { class: 'quiet what' })),
      element('p', { class: 'quiet' }, `${paths[0] ?? 'nothing'}${more}, published `, timeAgo(publishedUnixMs)),
      element('p', { class: 'error' }),
      element('p', { class: 'buttons' }, act('resend', 'Send again', 'is sent again'), ' ', act('drop', 'Give up', 'was given up')),
    );
  }

  function renew(child, { state, attempts, error }) {
    const tries = attempts ? ` after ${count(attempts, 'try', 'tries')}` : '';
    say(child.querySelector('.what'), state === 'dead' ? `failed for good${tries}` : `on the way${tries}`);
    say(child.querySelector('.error'), error ?? '');
  }

  async function post(id, verb, done) {
    if (verb === 'drop') {
      const yes = await ask({
        title: 'Give this delivery up?',
        text: 'Nobody is told of it any more. What is published later is told as ever.',
        yes: 'Give it up',
        danger: true,
      });
      if (!yes) return;
    }
    try {
      show((await api.post(`/v1/deliveries/${encodeURIComponent(id)}/${verb}`)).deliveries);
      notice.done(`The delivery ${id} ${done}.`);
    } catch (error) {
      notice.failed(error);
    }
    await load();
  }

  return load;
}

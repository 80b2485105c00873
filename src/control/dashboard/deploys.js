// The deploys that the server keeps, what each changed, and going back to one.

import { byId, element, keep, say, sayWithCode, whileBusy } from './dom.js';
import { count, moment, size, timeAgo, when } from './format.js';
import { ask } from './notice.js';
import { pathList, refusal, why } from './paths.js';

/** Returns the function that asks for the deploys and shows them. */
export function createDeploys({ api, notice, publishNow }) {
  const list = byId('deploys');
  const note = byId('deploys-note');

  async function load() {
    try {
      show((await api.get('/v1/deploys')).deploys);
    } catch (error) {
      note.hidden = false;
      const isOld = list.childElementCount > 0;
      sayWithCode(note, isOld ? `As it was, since ${why(error)}` : why(error));
    }
  }

  function show(deploys) {
    note.hidden = deploys.length > 0;
    say(note, 'The server keeps no deploy yet.');
    const current = deploys.findIndex((deploy) => deploy.current);
    const items = deploys.map((deploy, index) => ({ deploy, isNewer: index < current }));
    keep(list, items, { key: ({ deploy }) => deploy.deployId, make: row, update: renew });
  }

  function row({ deploy }) {
    const inside = element('div', { class: 'inside' });
    // Buttons of one name each say which deploy they mean.
    const meant = element('span', { class: 'unseen' }, ` of ${moment(deploy.committedUnixMs)}`);
    const button = element('button', { type: 'button', class: 'acting' }, element('span'), meant);
    button.addEventListener('click', () => goTo(deploy, button));
    const fill = async () => {
      if (inside.hasChildNodes()) return;
      const by = deploy.publishedBy ? `by ${deploy.publishedBy}, ` : '';
      inside.append(element('p', { class: 'quiet' }, by, element('span', { class: 'id' }, deploy.deployId)));
      try {
        const found = await api.get(`/v1/deploys/${encodeURIComponent(deploy.deployId)}`);
        const nothing = element('p', { class: 'quiet' }, 'It changed nothing.');
        inside.append(found.paths.length ? pathList(found.paths, found.morePaths) : nothing);
      } catch (error) {
        inside.append(refusal(error));
      }
    };
    const changed = [`${deploy.puts} new or changed`, deploy.removes ? `${deploy.removes} removed` : null];
    const details = element('details', { ontoggle: fill }, element('summary', {}, changed.filter(Boolean).join(', ')), inside);
    return element('li', { class: 'deploy' }, about(deploy), button, details);
  }

  function renew(child, { deploy, isNewer }) {
    child.classList.toggle('current', deploy.current);
    child.querySelector('.tag').hidden = !deploy.current;
    const button = child.querySelector('button');
    button.hidden = deploy.current;
    say(button.firstElementChild, isNewer ? 'Go to this' : 'Go back to this');
  }

  async function goTo(deploy, button) {
    const direction = button.firstElementChild.textContent === 'Go to this' ? 'Go to' : 'Go back to';
    await whileBusy(button, async () => {
      const yes = await ask({
        title: `${direction} this deploy?`,
        text: `Visitors then see the site of ${moment(deploy.committedUnixMs)}, with ${count(deploy.files, 'file')}, at once. `
          + 'The site folder stays as it is, and the next save publishes it again.',
        yes: `${direction} it`,
      });
      if (!yes) return;
      try {
        const went = await api.post('/v1/rollback', { deployId: deploy.deployId });
        const files = went.files == null ? '' : ` with ${count(went.files, 'file')}`;
        const undo = { label: 'Undo: publish the folder', run: publishNow };
        notice.done(`The site of ${moment(deploy.committedUnixMs)}${files} is live again.`, undo);
        await load();
        if (button.hidden) list.querySelector('.current summary')?.focus();
      } catch (error) {
        notice.failed(error);
      }
    });
  }

  return load;
}

function about(deploy) {
  const at = element('span', { class: 'quiet' }, when(deploy.committedUnixMs, Date.now()));
  const tag = element('span', { class: 'tag', hidden: true }, 'live');
  return element(
    'div',
    {},
    element('p', {}, tag, timeAgo(deploy.committedUnixMs), ' ', at),
    deploy.message ? element('p', {}, deploy.message) : null,
    element('p', { class: 'quiet' }, `${count(deploy.files, 'file')} · ${size(deploy.bytes)}`),
  );
}

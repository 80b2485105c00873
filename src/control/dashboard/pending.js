// What a publish would change now.

import { byId, element, say, sayWithCode, whileBusy } from './dom.js';
import { changes, count, size, timeAgo } from './format.js';
import { pathList, why } from './paths.js';

/** Returns the functions that look at the folder, and that take back what was seen. */
export function createPending(api) {
  const note = byId('pending-note');
  const paths = byId('pending-paths');
  const button = byId('look');
  let shown = '';
  let asked = 0;

  async function look() {
    asked += 1;
    const number = asked;
    try {
      const pending = await api.get('/v1/pending');
      // An answer that was overtaken is out of date.
      if (number === asked) show(pending);
    } catch (error) {
      // Somebody else looks; what they see is as good as what is shown.
      if (error.code === 'busy' || number !== asked) return;
      fill([], 0);
      sayWithCode(note, why(error));
    }
  }

  function show(pending) {
    const all = pending.added + pending.changed + pending.removed;
    const words = all === 0
      ? 'Nothing: the site shows what the folder has. Looked '
      : `${count(all, 'file')}: ${changes(pending)}${pending.bytes ? `; ${size(pending.bytes)} to send at most` : ''}. Looked `;
    note.replaceChildren(words, timeAgo(Date.now()), '.');
    fill(pending.paths, pending.morePaths);
  }

  function fill(list, more) {
    // A list that somebody reads or scrolls stays where it is.
    const key = JSON.stringify([list, more]);
    if (key === shown) return;
    shown = key;
    paths.replaceChildren();
    if (list.length === 0) return;
    const region = { class: 'scrolls', tabindex: 0, role: 'region', 'aria-label': 'Files that are not live yet' };
    paths.append(element('div', region, pathList(list, more)));
  }

  /** Says why it is not known; what was seen before may be wrong by now. */
  function unknown(reason) {
    asked += 1;
    fill([], 0);
    say(note, reason);
  }

  button.addEventListener('click', () => whileBusy(button, look));
  return { look, unknown };
}

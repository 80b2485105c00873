// A list of changed paths, each with what happened to it.

import { element, sayWithCode } from './dom.js';
import { count } from './format.js';

const MARKS = { added: '+', changed: '~', removed: '−' };

/** Returns the list, and a line that says how many more there are. */
export function pathList(paths, more = 0) {
  const list = element('ul', { class: 'paths' });
  for (const { path, change } of paths) {
    list.append(
      element(
        'li',
        { class: change },
        element('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[change] ?? '?'),
        element('span', { class: 'path' }, path),
        element('span', { class: 'unseen' }, `, ${change}`),
      ),
    );
  }
  const rest = more > 0 ? element('p', { class: 'quiet' }, `and ${count(more, 'more path')}`) : null;
  return element('div', {}, list, rest);
}

/** Returns a paragraph that says why something is not shown. */
export function refusal(error) {
  const place = element('p', { class: 'quiet' });
  sayWithCode(place, why(error));
  return place;
}

/** Returns what a refused call says, and what to do about it. */
export function why({ message, hint }) {
  return hint ? `${message}: ${hint}` : message;
}

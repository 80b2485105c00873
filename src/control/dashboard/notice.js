// What is told of an action: a line at the foot of the page, and a question before it.

import { byId, element, sayWithCode } from './dom.js';

const SHOWN_MS = 12_000;

/** Returns the functions that tell and ask. */
export function createNotice() {
  const place = byId('notice');
  let timer = null;

  function clear() {
    clearTimeout(timer);
    place.replaceChildren();
  }

  function show(kind, text, action) {
    clear();
    const words = element('p');
    sayWithCode(words, text);
    const box = element('div', { class: kind }, words);
    if (action) {
      const act = () => {
        clear();
        action.run();
      };
      box.append(element('button', { type: 'button', onclick: act }, action.label));
    }
    box.append(element('button', { type: 'button', class: 'plain', onclick: clear }, 'Close'));
    place.append(box);
  }

  return {
    clear,
    /** Tells what was done; goes away by itself where nothing is to be done about it. */
    done(text, action) {
      show('done', text, action);
      if (!action) timer = setTimeout(clear, SHOWN_MS);
    },
    /** Tells what was not done, until it was read. */
    failed(error) {
      show('failed', error.hint ? `${error.message}. ${sentence(error.hint)}` : error.message);
    },
  };
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Asks, and returns whether the answer is yes. Escape is a no; the focus goes back where it was. */
export function ask({ title, text, yes, danger = false }) {
  const dialog = byId('question');
  byId('question-title').textContent = title;
  byId('question-text').textContent = text;
  const [yesButton, noButton] = [byId('question-yes'), byId('question-no')];
  yesButton.textContent = yes;
  yesButton.className = danger ? 'danger' : 'primary';
  return new Promise((resolve) => {
    const end = (answer) => () => dialog.close(answer);
    yesButton.onclick = end('yes');
    noButton.onclick = end('no');
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.returnValue = 'no';
    dialog.showModal();
    // What cannot be undone asks for one more key.
    (danger ? noButton : yesButton).focus();
  });
}

// Building and keeping elements. What the daemon says becomes text and attributes, never markup.

const SVG = 'http://www.w3.org/2000/svg';

/** Returns the element that the page has by this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Returns a new element with attributes, handlers (`onclick`) and children, of which strings become text. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Returns a new element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Sets a text, where it is another: what did not change is not touched, and not read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets a text in which what stands in backticks is code. */
export function sayWithCode(node, text) {
  if (node.textContent === text.replaceAll('`', '')) return;
  const parts = text.split('`').map((part, index) => (index % 2 ? element('code', {}, part) : part));
  node.replaceChildren(...parts);
}

/**
 * Makes the children of `list` those of `items`, in order. What has a known key keeps its element, and with
 * it whether it is open and what has the focus.
 */
export function keep(list, items, { key, make, update }) {
  const known = new Map();
  for (const child of list.children) known.set(child.dataset.key, child);
  let place = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update?.(child, item);
    if (child === place) place = place.nextElementSibling;
    else list.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

/** Runs `work` while a button says that it is busy; a second click meanwhile does nothing. */
export async function whileBusy(button, work) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  // Not `disabled`, which would take the focus away.
  button.setAttribute('aria-disabled', 'true');
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } finally {
    button.removeAttribute('aria-disabled');
    button.removeAttribute('aria-busy');
  }
}

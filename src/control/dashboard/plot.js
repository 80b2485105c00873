// The last publishes as stacked bars: settle, scan and send, the newest at the right.
//
// `scaleOf` is pure. One save that took long, such as the first of a site, must not flatten all others: the
// axis ends near the usual; a bar that is higher is drawn cut, with its figure above.

import { drawn, say } from './dom.js';
import { clock, count, milliseconds } from './format.js';

const HEIGHT = 168;
const ABOVE = 16;
const BELOW = 22;
const LEFT = 50;
const FEWEST_SLOTS = 16;
const WIDEST_BAR = 22;
/** What takes so many times as long as the others would flatten them. */
const CUT = 8;
const PARTS = ['settle', 'scan', 'send'];

/** Returns where an axis for these values ends, and its ticks. */
export function scaleOf(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const most = sorted.at(-1) ?? 0;
  const usual = sorted[Math.floor((sorted.length - 1) * 0.9)] ?? 0;
  const wanted = Math.max(most > usual * CUT ? usual * 1.3 : most, 1);
  const power = 10 ** Math.floor(Math.log10(wanted / 3));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => wanted / size <= 5);
  const steps = Math.ceil(wanted / step - 1e-9);
  // The sum of floating steps would show as 0.30000000000000004.
  const ticks = Array.from({ length: steps + 1 }, (_, index) => Number((index * step).toPrecision(6)));
  return { top: ticks.at(-1), ticks };
}

/** Returns the middle value; of an even number the lower of the two. */
export function medianOf(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** Returns the function that draws publishes, the newest of which comes first. */
export function createPlot(place, readout) {
  let publishes = [];
  let width = 0;
  let pointed = null;

  function draw() {
    if (width === 0) return;
    const bars = [...publishes].reverse();
    const scale = scaleOf(bars.map((publish) => publish.tookMs));
    const slots = Math.max(bars.length, FEWEST_SLOTS);
    const slot = (width - LEFT) / slots;
    const x = (index) => width - (bars.length - index) * slot;
    const label = bars.length === 0 ? 'No publish yet' : summary(publishes);
    const svg = drawn('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label });
    svg.append(...grid(scale, width));
    bars.forEach((publish, index) => svg.append(bar(publish, x(index), slot, scale)));
    if (bars.length > 0) svg.append(...times(bars, x(0), width));
    svg.addEventListener('pointermove', (event) => {
      const left = svg.getBoundingClientRect().left;
      const index = bars.length - 1 - Math.floor((width - (event.clientX - left)) / slot);
      point(bars[index] ?? null);
    });
    svg.addEventListener('pointerleave', () => point(null));
    place.replaceChildren(svg);
    point(pointed);
  }

  /** Tells of the publish under the pointer, or of the newest. */
  function point(publish) {
    pointed = publish;
    for (const node of place.querySelectorAll('.bar')) {
      node.classList.toggle('pointed', node.dataset.id === publish?.deployId);
    }
    say(readout, told(publish ?? publishes[0], publish === null));
  }

  new ResizeObserver(([entry]) => {
    const found = Math.floor(entry.contentRect.width);
    if (found === width) return;
    width = found;
    draw();
  }).observe(place);

  return (told) => {
    publishes = told;
    draw();
  };
}

function told(publish, isNewest) {
  if (!publish) return 'Save a file of the site, and it is drawn here.';
  const parts = PARTS.map((part) => `${part} ${milliseconds(publish[`${part}Ms`])}`).join(', ');
  return `${isNewest ? 'Last, at' : 'At'} ${clock(publish.atUnixMs)}: ${milliseconds(publish.tookMs)} = ${parts}`;
}

function summary(publishes) {
  const took = publishes.map((publish) => publish.tookMs);
  return `${count(publishes.length, 'publish', 'publishes')}: the last took ${milliseconds(took[0])}, `
    + `half of them at most ${milliseconds(medianOf(took))}, the longest ${milliseconds(Math.max(...took))}`;
}

function grid({ top, ticks }, width) {
  return ticks.flatMap((tick) => {
    const y = yOf(tick, top);
    return [
      drawn('line', { class: 'grid', x1: LEFT, x2: width, y1: y, y2: y }),
      drawn('text', { class: 'tick', x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, milliseconds(tick)),
    ];
  });
}

function bar(publish, x, slot, { top }) {
  const wide = Math.min(slot * 0.72, WIDEST_BAR);
  const left = x + (slot - wide) / 2;
  const group = drawn('g', { class: 'bar', 'data-id': publish.deployId });
  let below = 0;
  for (const part of PARTS) {
    const above = Math.min(below + publish[`${part}Ms`], top);
    const [high, low] = [yOf(above, top), yOf(below, top)];
    if (low - high > 0) group.append(drawn('rect', { class: part, x: left, y: high, width: wide, height: low - high }));
    below = above;
  }
  if (publish.tookMs > top) {
    const y = ABOVE + 8;
    const cut = `M${left - 2} ${y + 4}L${left + wide + 2} ${y - 2}`;
    group.append(drawn('path', { class: 'cut', d: cut }));
    const figure = { class: 'tick', x: left + wide / 2, y: ABOVE - 4, 'text-anchor': 'middle' };
    group.append(drawn('text', figure, milliseconds(publish.tookMs)));
  }
  return group;
}

function times(bars, first, width) {
  const y = HEIGHT - 6;
  const newest = drawn('text', { class: 'tick', x: width, y, 'text-anchor': 'end' }, clock(bars.at(-1).atUnixMs));
  // Two that would run into each other say less than one.
  if (width - first < 150) return [newest];
  return [drawn('text', { class: 'tick', x: first, y }, clock(bars[0].atUnixMs)), newest];
}

function yOf(value, top) {
  const y = HEIGHT - BELOW - (value / top) * (HEIGHT - BELOW - ABOVE);
  return Math.round(y * 10) / 10;
}

// The last publishes: drawn, as a table, and what each changed.

import { byId, element, keep, say } from './dom.js';
import { changes, clock, milliseconds, moment, size } from './format.js';
import { pathList, refusal } from './paths.js';
import { createPlot, medianOf } from './plot.js';

const FEW = 6;

/** Returns the function that shows the publishes of a status. */
export function createPublishes(api) {
  const draw = createPlot(byId('plot'), byId('readout'));
  const more = byId('more-publishes');
  let publishes = [];
  let showsAll = false;
  let shown = '';

  more.addEventListener('click', () => {
    showsAll = !showsAll;
    list();
  });

  function list() {
    const some = showsAll ? publishes : publishes.slice(0, FEW);
    keep(byId('publishes'), some, { key: (publish) => publish.deployId, make: (publish) => row(publish, api) });
    more.hidden = publishes.length <= FEW;
    say(more, showsAll ? 'Show fewer' : `Show all ${publishes.length}`);
  }

  return (status) => {
    const key = status.publishes.map((publish) => publish.deployId).join();
    if (key === shown && key !== '') return;
    shown = key;
    publishes = status.publishes;
    draw(publishes);
    byId('no-publishes').hidden = publishes.length > 0;
    const took = publishes.map((publish) => publish.tookMs);
    say(byId('median'), took.length ? `median ${milliseconds(medianOf(took))} of ${took.length}` : '');
    keep(byId('figures'), publishes, { key: (publish) => publish.deployId, make: figures });
    list();
  };
}

function figures(publish) {
  const cell = (value) => element('td', {}, value.toFixed(1));
  return element(
    'tr',
    {},
    element('th', { scope: 'row' }, clock(publish.atUnixMs)),
    cell(publish.settleMs),
    cell(publish.scanMs),
    cell(publish.sendMs),
    element('td', {}, String(publish.tookMs)),
  );
}

function row(publish, api) {
  const { paths, added, changed, removed } = publish;
  const all = added + changed + removed;
  const first = paths[0]?.path ?? 'nothing';
  const inside = element('div', { class: 'inside' });
  const fill = () => {
    if (inside.hasChildNodes()) return;
    const sent = `${changes(publish)}; ${size(publish.sentBytes)} sent`;
    const server = publish.serverMs == null ? '' : `, the server took ${milliseconds(publish.serverMs)} of it`;
    inside.append(element('p', { class: 'quiet' }, sent + server), pathsOf(publish, all, api));
  };
  const date = { datetime: new Date(publish.atUnixMs).toISOString(), title: moment(publish.atUnixMs) };
  const at = element('time', date, clock(publish.atUnixMs));
  const more = all > 1 ? element('span', { class: 'quiet' }, ` and ${all - 1} more`) : null;
  const what = element('span', { class: 'what' }, first, more);
  const took = element('span', { class: 'took' }, milliseconds(publish.tookMs));
  const summary = element('summary', {}, at, ' ', what, ' ', took);
  return element('li', {}, element('details', { ontoggle: fill }, summary, inside));
}

function pathsOf(publish, all, api) {
  const place = element('div', {}, pathList(publish.paths));
  const left = all - publish.paths.length;
  if (left <= 0) return place;
  const load = async () => {
    try {
      const deploy = await api.get(`/v1/deploys/${encodeURIComponent(publish.deployId)}`);
      place.replaceChildren(pathList(deploy.paths, deploy.morePaths));
    } catch (error) {
      button.replaceWith(refusal(error));
    }
  };
  const button = element('button', { type: 'button', class: 'plain', onclick: load }, `Show ${left} more`);
  place.append(button);
  return place;
}

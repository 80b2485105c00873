// The server: its disk, its version, and replacing it where it is outdated.

import { byId, element, say, sayWithCode, whileBusy } from './dom.js';
import { count, size } from './format.js';
import { ask } from './notice.js';
import { why } from './paths.js';

const REBUILD_LOOK_MS = 5_000;
/** Less room than this is little, where it is also less than a tenth. */
const LITTLE_BYTES = 5 * 1024 ** 3;
const KINDS = { local: 'in the process of onsave', url: 'a server of your own', fly: 'an app on Fly.io' };

/** Returns the function that asks about the server and shows what it says. */
export function createServer({ api, notice }) {
  const note = byId('server-note');
  const button = byId('rebuild');
  let timer = null;

  async function load() {
    clearTimeout(timer);
    try {
      show(await api.get('/v1/server'));
    } catch (error) {
      note.hidden = false;
      sayWithCode(note, why(error));
    }
  }

  function show(server) {
    const { health } = server;
    byId('disk').hidden = !health;
    if (health) disk(health);
    const pairs = facts(server).flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]);
    byId('server-facts').replaceChildren(...pairs);
    const isOutdated = health?.outdated === true;
    byId('rebuild-row').hidden = !(server.canRebuild && (isOutdated || server.rebuilding));
    const words = noteOf(server, isOutdated);
    note.hidden = words === '';
    say(note, words);
    if (server.rebuilding) timer = setTimeout(load, REBUILD_LOOK_MS);
  }

  button.addEventListener('click', () =>
    whileBusy(button, async () => {
      const yes = await ask({
        title: 'Rebuild infrastructure?',
        text: 'The server on Fly.io is replaced by the one of this onsave. That takes some minutes, in which the site may be '
          + 'away for moments; its deploys stay.',
        yes: 'Rebuild',
        danger: true,
      });
      if (!yes) return;
      try {
        timer = setTimeout(load, REBUILD_LOOK_MS);
        const rebuilt = await api.post('/v1/rebuild');
        notice.done(`The server was replaced: ${rebuilt.serverVersion ?? 'its version is not known yet'}.`);
      } catch (error) {
        notice.failed(error);
      }
      await load();
    }),
  );

  return load;
}

function disk(health) {
  const used = health.volumeBytes - health.volumeFreeBytes;
  const share = health.volumeBytes > 0 ? (used / health.volumeBytes) * 100 : 0;
  const meter = byId('disk-meter');
  meter.setAttribute('aria-valuenow', String(Math.round(share)));
  meter.classList.toggle('full', share >= 90 && health.volumeFreeBytes < LITTLE_BYTES);
  meter.firstElementChild.style.width = `${Math.max(share, 1)}%`;
  say(byId('disk-text'), `${size(used)} of ${size(health.volumeBytes)} on its disk, ${size(health.volumeFreeBytes)} free`);
}

function facts({ url, kind, clientVersion, health }) {
  const list = [['is', KINDS[kind] ?? kind], ['at', url]];
  if (health) {
    list.push(['serves', `${count(health.files, 'file')}, ${size(health.bytes)}`]);
    list.push(['keeps', count(health.keptDeploys, 'deploy')]);
    list.push(['version', health.version === clientVersion ? health.version : `${health.version}; this onsave is ${clientVersion}`]);
  }
  return list;
}

function noteOf(server, isOutdated) {
  if (server.rebuilding) return 'It is being replaced, which takes some minutes.';
  if (!server.health) return 'It is of another make, and says nothing of itself.';
  if (!isOutdated) return '';
  if (server.canRebuild) return 'It is older than this onsave.';
  return 'It is older than this onsave, and cannot be replaced from here.';
}

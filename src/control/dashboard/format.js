// Times, sizes and counts in words. Pure, but for the element of a time, which is kept right as time passes.

import { element } from './dom.js';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const DAY_AND_CLOCK = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const NUMBER = new Intl.NumberFormat('en');

/** Returns how long ago something was, in words. A clock that was set back counts as now. */
export function ago(unixMs, nowMs) {
  const seconds = Math.max(0, Math.floor((nowMs - unixMs) / 1000));
  if (seconds < 5) return 'just now';
  if (seconds < MINUTE) return `${seconds} s ago`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return `${count(Math.floor(seconds / DAY), 'day')} ago`;
}

/** Returns the time of day. */
export function clock(unixMs) {
  return CLOCK.format(unixMs);
}

/** Returns day and time. */
export function moment(unixMs) {
  return DAY_AND_CLOCK.format(unixMs);
}

/** Returns the time of day, with the day where it is another. */
export function when(unixMs, nowMs) {
  const isToday = new Date(unixMs).toDateString() === new Date(nowMs).toDateString();
  return isToday ? clock(unixMs) : moment(unixMs);
}

/** Returns an element that says how long ago something was, as long as `keepTimesRight` runs. */
export function timeAgo(unixMs) {
  const at = new Date(unixMs);
  return element('time', { datetime: at.toISOString(), title: moment(at), 'data-ago': unixMs }, ago(unixMs, Date.now()));
}

/** Sets every relative time of the page right, once a second. */
export function keepTimesRight() {
  setInterval(() => {
    for (const node of document.querySelectorAll('time[data-ago]')) {
      const text = ago(Number(node.dataset.ago), Date.now());
      if (node.textContent !== text) node.textContent = text;
    }
  }, 1000);
}

/** Returns milliseconds with the digits that mean something. */
export function milliseconds(value) {
  if (value >= 10_000) return `${NUMBER.format(Math.round(value / 100) / 10)} s`;
  return `${NUMBER.format(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))} ms`;
}

/** Returns a size in binary units. */
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** Returns a number with what it counts: `1 file`, `12 files`. */
export function count(number, one, many = `${one}s`) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

/** Returns what a publish or a look at the folder counted; what is none is left out. */
export function changes({ added, changed, removed }) {
  const parts = [];
  if (added) parts.push(`${NUMBER.format(added)} added`);
  if (changed) parts.push(`${NUMBER.format(changed)} changed`);
  if (removed) parts.push(`${NUMBER.format(removed)} removed`);
  return parts.join(', ') || 'nothing changed';
}

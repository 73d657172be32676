// Searching in sorted arrays, numbers in words, elements. Nothing here knows what a trace is.

// The first index from `low` on whose value is not below `value`.
function lowerBound(sorted, value, low = 0, high = sorted.length) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The first index whose value is above `value`.
function upperBound(sorted, value, low = 0, high = sorted.length) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// lowerBound for a value that is expected soon after `from`: looks at twice the distance each time.
function gallop(sorted, value, from) {
  let step = 1;
  let low = from;
  let high = from;
  while (high < sorted.length && sorted[high] < value) {
    low = high + 1;
    high += step;
    step *= 2;
  }
  return lowerBound(sorted, value, low, Math.min(high, sorted.length));
}

// Indices by key: those of key k are items[starts[k]] .. items[starts[k + 1] - 1], in their old order.
// Negative keys belong to nobody.
function groupBy(keys, groups, wanted = null) {
  const starts = new Int32Array(groups + 1);
  for (let i = 0; i < keys.length; i++) if (keys[i] >= 0 && (!wanted || wanted(i))) starts[keys[i] + 1]++;
  for (let k = 0; k < groups; k++) starts[k + 1] += starts[k];
  const items = new Int32Array(starts[groups]);
  const at = starts.slice(0, groups);
  for (let i = 0; i < keys.length; i++) if (keys[i] >= 0 && (!wanted || wanted(i))) items[at[keys[i]]++] = i;
  return { starts, items, of: (k) => items.subarray(starts[k], starts[k + 1]) };
}

const TIME_UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];

// A duration in the unit that suits it, with three digits that count: 1.23 ms.
function duration(s) {
  if (!Number.isFinite(s)) return "unknown";
  if (s === 0) return "0 s";
  if (Math.abs(s) >= 120) return `${Math.floor(s / 60)} min ${(s % 60).toFixed(0)} s`;
  const [unit, name] = TIME_UNITS.find(([size]) => Math.abs(s) >= size) ?? TIME_UNITS[3];
  const value = s / unit;
  return `${value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)} ${name}`;
}

// A moment of the run: seconds since its begin, to the microsecond.
function moment(s) {
  return Number.isFinite(s) ? `${s.toFixed(6)} s` : "unknown";
}

function count(number) {
  return Math.round(number).toLocaleString("en-GB");
}

function bytes(number) {
  if (number < 1024) return `${number} bytes`;
  const power = Math.min(3, Math.floor(Math.log2(number) / 10));
  return `${(number / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

const byId = (id) => document.getElementById(id);

// An element with text inside. What comes from a trace passes through here, as text, never as markup.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Half a character, which may be in a string but not in a text, becomes a replacement for one.
function whole(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

// As people may see it: control characters as pictures, and nothing that turns the direction of what follows.
function shown(text) {
  return whole(text)
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

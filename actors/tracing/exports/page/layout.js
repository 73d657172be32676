// Which rows are there, where, and how high. Closed subtrees and actors that were not asked for have none.

const HEAD = 24; // the axis above the rows
const SIZE = { states: 4, handlers: 15, jobs: 8, waits: 3 };
const SHOWN_MAX = { jobs: 3, waits: 4 }; // further tracks lie upon the last one
const PAD = 3;

class Layout {
  constructor(model) {
    this.model = model;
    this.closed = new Set();
    this.visible = [];
    this.place = new Int32Array(0);
  }

  // To be called when the lanes, the filter or what is closed has changed.
  update(lanes, filter) {
    const { model } = this;
    this.visible = [];
    this.place = new Int32Array(model.rows.count).fill(-1); // row -> its place among the visible ones
    const hidden = new Uint8Array(model.rows.count);
    for (let row = 0; row < model.rows.count; row++) {
      const above = model.rows.parent[row];
      hidden[row] = above >= 0 && (hidden[above] || this.closed.has(above)) ? 1 : 0;
      if (hidden[row] || !filter.hasRow(row)) continue;
      this.place[row] = this.visible.length;
      this.visible.push(row);
    }
    this.tops = new Float64Array(this.visible.length + 1);
    this.parts = this.visible.map((row) => this.partsOf(row, lanes, filter));
    this.parts.forEach((parts, place) => { this.tops[place + 1] = this.tops[place] + parts.height; });
    this.height = this.tops[this.visible.length];
  }

  // Where the lanes of a row begin, from its top, and its height.
  partsOf(row, lanes, filter) {
    const parts = { states: 1, height: 0 };
    const tall = (kind) => Math.min(lanes[kind][row].length, SHOWN_MAX[kind]) * SIZE[kind];
    parts.handlers = parts.states + (filter.kinds.has("states") ? SIZE.states + 1 : 0);
    parts.jobs = parts.handlers + SIZE.handlers + 1;
    parts.waits = parts.jobs + tall("jobs") + (lanes.jobs[row].length ? 1 : 0);
    parts.height = parts.waits + tall("waits") + PAD;
    return parts;
  }

  // The first place whose row is not above y.
  placeAt(y) {
    return Math.max(0, Math.min(this.visible.length - 1, upperBound(this.tops, y, 0, this.visible.length + 1) - 1));
  }

  toggle(row) {
    if (!this.closed.delete(row)) this.closed.add(row);
  }

  // Open what is above a row. Says whether there was anything to open.
  reveal(row) {
    let changed = false;
    for (let at = this.model.rows.parent[row]; at >= 0; at = this.model.rows.parent[at]) {
      changed = this.closed.delete(at) || changed;
    }
    return changed;
  }

  // The y, from the top of all rows, at which arrows begin and end: in the row, or in the one that hides it.
  anchor(row) {
    let at = row;
    while (at >= 0 && this.place[at] < 0) at = this.model.rows.parent[at];
    if (at < 0) return NaN;
    const place = this.place[at];
    return this.tops[place] + this.parts[place].handlers + SIZE.handlers / 2;
  }
}

// The trace as the page asks for it. Everything is a number: a row is an actor, a thing is a table's name and
// an index into its columns, a text is an index into the strings. Times are seconds since the trace's begin;
// NaN is a time that the trace does not tell. A message's index is not its number, which people see.

const KINDS = ["handlers", "jobs", "waits", "messages", "marks", "states"];

// How much each kind of mark matters: 2 is trouble, 1 is worth a symbol of its own, 0 is a small dot.
const WEIGHT = {
  error: 2, drop: 2, refuse: 2, blocked: 2, full: 2, fault: 2, restart: 2, end: 1, start: 1, dump: 1,
};
const ENDED_WELL = new Set(["answered", ""]);

class Model {
  constructor({ head, tables, strings }) {
    Object.assign(this, { head, strings }, tables);
    this.end = head.span_s;
    this.names = Array.from(this.rows.name, (text) => strings[text]);
    this.depth = new Int32Array(this.rows.count);
    for (let row = 0; row < this.rows.count; row++) {
      const above = this.rows.parent[row];
      this.depth[row] = above < 0 ? 0 : this.depth[above] + 1; // parents come before their children
    }
    this.children = groupBy(this.rows.parent, this.rows.count);
    this.indexOf = new Map();
    for (let i = 0; i < this.messages.count; i++) this.indexOf.set(this.messages.number[i], i);
    // The last handler of a message is the one that counts: there are several if it was delivered again.
    this.handlerOf = new Int32Array(this.messages.count).fill(-1);
    this.handlers.message.forEach((message, i) => { if (message >= 0) this.handlerOf[message] = i; });
    this.waitOf = new Int32Array(this.messages.count).fill(-1);
    this.waits.about.forEach((message, i) => { if (message >= 0) this.waitOf[message] = i; });
    this.effects = {};
    for (const kind of ["messages", "jobs", "waits", "marks"]) {
      this.effects[kind] = groupBy(this[kind].cause, this.messages.count);
    }
    this.ofRow = {};
    for (const kind of ["handlers", "jobs", "waits", "marks"]) {
      this.ofRow[kind] = groupBy(this[kind].row, this.rows.count);
    }
    this.colourOf = this.colours();
  }

  text(index) {
    return this.strings[index];
  }

  // The colour of each text that names a type or a job: the most frequent ones have colours of their own.
  colours() {
    const uses = new Map();
    for (const names of [this.messages.type, this.jobs.name]) {
      for (const name of names) uses.set(name, (uses.get(name) ?? 0) + 1);
    }
    const colours = new Uint8Array(this.strings.length);
    [...uses].sort((a, b) => b[1] - a[1]).forEach(([name], rank) => { colours[name] = rank % PALETTE.length; });
    return colours;
  }

  // The end of something that may still have been going on when the trace ended.
  endOf(kind, i) {
    const end = this[kind].end[i];
    return Number.isNaN(end) ? this.end : end;
  }

  // When a thing begins and ends, as far as the trace tells.
  span({ kind, i }) {
    if (kind === "rows") return [0, this.end];
    if (kind === "marks") return [this.marks.time[i], this.marks.time[i]];
    if (kind !== "messages") return [(this[kind].asked ?? this[kind].begin)[i], this.endOf(kind, i)];
    const m = this.messages;
    const known = [m.sent[i], m.received[i], m.replied[i], m.heard[i], m.lost[i]].filter((s) => !Number.isNaN(s));
    const handler = this.handlerOf[i];
    if (handler >= 0) known.push(this.handlers.begin[handler], this.endOf("handlers", handler));
    return known.length ? [Math.min(...known), Math.max(...known)] : [0, 0];
  }

  // The row where a thing is best looked at; -1 for nowhere.
  rowOf({ kind, i }) {
    if (kind === "rows") return i;
    if (kind !== "messages") return this[kind].row[i];
    const handler = this.handlerOf[i];
    if (handler >= 0) return this.handlers.row[handler];
    return this.messages.from[i] >= 0 ? this.messages.from[i] : this.messages.to[i];
  }

  // A handler is told of by the story of its message.
  told(thing) {
    if (thing.kind !== "handlers") return thing;
    const message = this.handlers.message[thing.i];
    return message >= 0 ? { kind: "messages", i: message } : thing;
  }

  // The message that was being handled when this happened; -1 for none.
  causeOf({ kind, i }) {
    return this[kind].cause ? this[kind].cause[i] : -1;
  }

  // From the thing's cause up to the first message, which came from outside. A damaged trace may go in circles.
  causes(thing) {
    const found = [];
    const seen = new Set();
    for (let at = this.causeOf(thing); at >= 0 && !seen.has(at); at = this.messages.cause[at]) {
      seen.add(at);
      found.push(at);
    }
    return found;
  }

  isTrouble({ kind, i }) {
    if (kind === "marks") return WEIGHT[this.text(this.marks.kind[i])] === 2;
    if (kind === "waits") return !ENDED_WELL.has(this.text(this.waits.outcome[i]));
    if (kind === "jobs") return this.jobs.left[i] === 1;
    if (kind === "messages") {
      const handler = this.handlerOf[i];
      return !Number.isNaN(this.messages.lost[i]) || (handler >= 0 && this.isTrouble({ kind: "handlers", i: handler }));
    }
    return kind === "handlers" && ["failed", "refused"].includes(this.text(this.handlers.outcome[i]));
  }

  // What one line about a thing says.
  title({ kind, i }) {
    const t = this[kind];
    if (kind === "rows") return this.names[i];
    if (kind === "messages") return `${this.text(t.type[i]) || "message"} #${t.number[i]}`;
    if (kind === "handlers") return `${this.text(t.type[i]) || "handler"}`;
    if (kind === "jobs") return `job ${this.text(t.name[i])}`;
    if (kind === "waits") return `wait for ${this.text(t.target[i])}`;
    if (kind === "states") return `state ${this.text(t.name[i])}`;
    return [this.text(t.kind[i]), this.text(t.text[i])].filter(Boolean).join(": ");
  }
}

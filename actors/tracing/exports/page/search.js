// Search: what has a word in it, in order of time, and which of these hits is looked at.

const SEARCHED = {
  messages: ["type", "answer", "lost_why"], jobs: ["name", "detail"], waits: ["outcome"], marks: ["kind", "text"],
};
const HIT_KINDS = ["rows", ...Object.keys(SEARCHED)];

class Search {
  constructor(model, filter) {
    this.model = model;
    this.filter = filter;
    this.clear();
  }

  clear() {
    this.hits = []; // pairs in one number each: the kind's place in HIT_KINDS, and the index
    this.at = -1;
  }

  get length() {
    return this.hits.length;
  }

  get current() {
    return this.at >= 0 ? this.thing(this.hits[this.at]) : null;
  }

  thing(hit) {
    return { kind: HIT_KINDS[Math.floor(hit / 2 ** 31)], i: hit % 2 ** 31 };
  }

  hit({ kind, i }) {
    return HIT_KINDS.indexOf(kind) * 2 ** 31 + i;
  }

  // Things that somebody else has found, such as all troubles that are alike.
  take(things) {
    this.hits = things.map((thing) => this.hit(thing));
    this.at = -1;
  }

  // A number, with or without #, is that of a message. Anything else is looked for in every text.
  find(query) {
    this.clear();
    const wanted = query.trim().toLowerCase();
    if (!wanted) return;
    const number = /^#?(\d+)$/.exec(wanted);
    const message = number ? this.model.indexOf.get(Number(number[1])) : undefined;
    if (message !== undefined) this.hits.push(this.hit({ kind: "messages", i: message }));
    if (wanted.startsWith("#")) return;
    const matching = this.filter.matching(wanted);
    this.model.names.forEach((name, row) => { if (name.toLowerCase().includes(wanted)) this.hits.push(this.hit({ kind: "rows", i: row })); });
    const found = [];
    for (const [kind, columns] of Object.entries(SEARCHED)) this.findIn(kind, columns, matching, found);
    found.sort((a, b) => a[0] - b[0]);
    for (const [, hit] of found) this.hits.push(hit);
  }

  findIn(kind, columns, matching, found) {
    const table = this.model[kind];
    const time = table.at ?? table.asked ?? table.begin ?? table.time;
    const values = columns.map((name) => table[name]);
    for (let i = 0; i < table.count; i++) {
      if (values.some((column) => matching[column[i]] === 1)) found.push([time[i], this.hit({ kind, i })]);
    }
  }

  // The next hit, or the one before; round and round.
  step(by) {
    if (!this.hits.length) return null;
    this.at = this.at < 0 ? (by > 0 ? 0 : this.hits.length - 1) : (this.at + by + this.hits.length) % this.hits.length;
    return this.current;
  }
}

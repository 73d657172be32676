// The story of a thing, in words: {title, under, bad, facts: [[label, text]], lists: [{heading, chain, links}]}.
// A link is {thing, text, note, bad}. Nothing here touches the page; panel.js shows it.

const LISTED_MAX = 60;

class Stories {
  constructor(model) {
    this.model = model;
  }

  of(thing) {
    const { kind, i } = thing;
    const story = this[kind](i);
    const lists = kind === "rows" ? [] : [this.causes(thing), ...this.about(thing)];
    if (kind === "messages") lists.push(this.effects(i));
    return { title: this.model.title(thing), bad: this.model.isTrouble(thing), ...story,
      lists: [...lists, ...(story.lists ?? [])] };
  }

  name(row) {
    return row >= 0 ? this.model.names[row] : "somebody that the trace does not tell";
  }

  // A line that leads to a thing.
  link(thing, extra = "") {
    const { model } = this;
    const [begin, end] = model.span(thing);
    const took = thing.kind === "marks" || thing.kind === "rows" ? "" : `, ${duration(end - begin)}`;
    const row = thing.kind === "messages" ? `${this.name(model.messages.from[thing.i])} → ${this.name(model.messages.to[thing.i])}`
      : thing.kind === "rows" ? "" : this.name(model.rowOf(thing));
    const note = thing.kind === "rows" ? extra : [`${row}, at ${moment(begin)}${took}`, extra].filter(Boolean).join("; ");
    return { thing, text: model.title(thing), note, bad: thing.kind !== "rows" && model.isTrouble(thing) };
  }

  // From the nearest cause up to the first one.
  causes(thing) {
    const { model } = this;
    const chain = model.causes(thing);
    const links = chain.map((message) => this.link({ kind: "messages", i: message }));
    const first = chain.length ? chain[chain.length - 1] : thing.kind === "messages" ? thing.i : -1;
    if (first >= 0) {
      const known = !Number.isNaN(model.messages.sent[first]);
      const from = model.messages.from[first];
      const why = known ? "while it handled no message: here the chain begins" : "is older than the trace";
      if (from >= 0) links.push({ ...this.link({ kind: "rows", i: from }, known ? `sent #${model.messages.number[first]} ${why}` : why) });
    }
    return { heading: "Because of", chain: true, links, none: "nothing: it happened while no message was handled" };
  }

  // What else belongs to a thing: the ask of a wait, the message of a mark.
  about({ kind, i }) {
    const { model } = this;
    if (kind !== "waits" || model.waits.about[i] < 0) return [];
    return [{ heading: "It waits for the answer to", links: [this.link({ kind: "messages", i: model.waits.about[i] })] }];
  }

  // What happened because of a message, in order of time.
  effects(message) {
    const { model } = this;
    const things = [];
    let more = 0;
    for (const kind of ["marks", "messages", "jobs", "waits"]) {
      const of = model.effects[kind].of(message);
      more += Math.max(0, of.length - LISTED_MAX);
      for (const i of of.subarray(0, LISTED_MAX)) {
        if (kind === "waits" && model.waits.about[i] >= 0) continue; // its message tells of it
        things.push({ kind, i, at: model.span({ kind, i })[0] });
      }
    }
    things.sort((a, b) => a.at - b.at);
    more += Math.max(0, things.length - LISTED_MAX);
    const links = things.slice(0, LISTED_MAX).map(({ kind, i }) => this.link({ kind, i }));
    return { heading: "What it caused", links, more, none: "nothing that the trace tells" };
  }

  messages(i) {
    const { model } = this;
    const m = model.messages;
    const facts = [];
    const add = (label, text) => { if (text) facts.push([label, text]); };
    add("sent", Number.isNaN(m.sent[i]) ? "before the trace begins" : moment(m.sent[i]));
    if (!Number.isNaN(m.received[i])) add("in the mailbox", duration(m.received[i] - m.sent[i]));
    else if (!Number.isNaN(m.sent[i]) && Number.isNaN(m.lost[i])) add("received", "never, as far as the trace tells");
    this.handled(i, add);
    this.answer(i, add);
    if (!Number.isNaN(m.lost[i])) add("lost", `it became a dead letter at ${moment(m.lost[i])}: ${model.text(m.lost_why[i])}`);
    if (m.size[i]) add("size", bytes(m.size[i]));
    const under = `${m.is_ask[i] ? "an ask" : "a message"} from ${this.name(m.from[i])} to ${this.name(m.to[i])}`;
    return { under, facts };
  }

  handled(i, add) {
    const { model } = this;
    const handler = model.handlerOf[i];
    if (handler < 0) return;
    const h = model.handlers;
    const open = Number.isNaN(h.end[handler]);
    const took = duration(model.endOf("handlers", handler) - h.begin[handler]);
    const outcome = model.text(h.outcome[handler]);
    const words = open ? "it still was when the trace ends" : {
      answered: "it answered", returned: "it returned", failed: "it failed", ended: "it was ended", refused: "it was refused",
    }[outcome] ?? outcome;
    add("handled", `from ${moment(h.begin[handler])} for ${took}: ${words}`);
    add("error", model.text(h.error[handler]));
    const jobs = model.effects.jobs.of(i);
    const worked = jobs.reduce((sum, job) => sum + model.endOf("jobs", job) - model.jobs.begin[job], 0);
    if (jobs.length) add("its jobs", `${plural(jobs.length, "job")}, ${duration(worked)} in threads`);
    if (h.limit[handler]) add("time given", duration(h.limit[handler]));
    if (h.incarnation[handler] > 1) add("incarnation", String(h.incarnation[handler]));
  }

  answer(i, add) {
    const { model } = this;
    const m = model.messages;
    if (!Number.isNaN(m.replied[i])) {
      const size = m.answer_size[i] ? `, ${bytes(m.answer_size[i])}` : "";
      add("answer", `${model.text(m.answer[i])}${size}, at ${moment(m.replied[i])}`);
      if (m.heard[i] > m.replied[i]) add("heard", `${duration(m.heard[i] - m.replied[i])} later`);
    } else if (m.is_ask[i]) add("answer", "none, as far as the trace tells");
    const wait = model.waitOf[i];
    if (wait >= 0 && model.isTrouble({ kind: "waits", i: wait })) add("the wait for it", this.outcomeOf(wait));
    else if (wait >= 0 && Number.isNaN(model.waits.end[wait])) add("the wait for it", this.outcomeOf(wait));
  }

  // How a wait ended, in a sentence.
  outcomeOf(i) {
    const { model } = this;
    const w = model.waits;
    const took = duration(model.endOf("waits", i) - w.begin[i]);
    if (Number.isNaN(w.end[i])) return `still open when the trace ends, after ${took}`;
    const outcome = model.text(w.outcome[i]);
    if (outcome === "answered") return `answered after ${took}`;
    if (outcome === "Expired") return `its time was up after ${took}: nothing had come`;
    if (outcome === "given up") return `given up after ${took}: nobody wanted it any more`;
    return `ended after ${took} with ${outcome}`;
  }

  waits(i) {
    const { model } = this;
    const w = model.waits;
    const facts = [["since", moment(w.begin[i])], ["for", model.text(w.reason[i]) || "a reason that the trace does not tell"],
      ["outcome", this.outcomeOf(i)]];
    if (w.limit[i]) facts.push(["time given", duration(w.limit[i])]);
    return { under: `${this.name(w.row[i])} waits for ${model.text(w.target[i])}`, facts };
  }

  jobs(i) {
    const { model } = this;
    const j = model.jobs;
    const open = Number.isNaN(j.end[i]);
    const facts = [["handed over", moment(j.asked[i])]];
    if (!j.left[i] && !open) facts.push(["in the queue", duration(j.begin[i] - j.asked[i])]);
    const took = duration(model.endOf("jobs", i) - j.begin[i]);
    if (open) facts.push(["at work", `still when the trace ends, after ${took}`]);
    else facts.push([j.left[i] ? "left behind after" : "at work for", took]);
    if (j.left[i]) facts.push(["what is known", model.text(j.detail[i])]);
    return { under: `work in a thread, for ${this.name(j.row[i])}`, facts };
  }

  marks(i) {
    const { model } = this;
    const k = model.marks;
    const facts = [["at", moment(k.time[i])], ["what", model.text(k.kind[i])], ["words", model.text(k.text[i])]];
    if (k.incarnation[i] > 1) facts.push(["incarnation", String(k.incarnation[i])]);
    return { title: model.text(k.kind[i]), under: `at ${this.name(k.row[i])}`, facts: facts.filter(([, text]) => text) };
  }

  states(i) {
    const { model } = this;
    const [begin, end] = model.span({ kind: "states", i });
    return { under: `of ${this.name(model.states.row[i])}`, facts: [["since", moment(begin)], ["for", duration(end - begin)]] };
  }

  handlers(i) {
    const { model } = this;
    const [begin, end] = model.span({ kind: "handlers", i });
    return { under: `at ${this.name(model.handlers.row[i])}, of a message that the trace does not tell`,
      facts: [["since", moment(begin)], ["for", duration(end - begin)], ["outcome", model.text(model.handlers.outcome[i])]] };
  }

  // An actor: how much it did, and what went wrong.
  rows(row) {
    const { model } = this;
    const facts = [];
    const lists = [];
    const bad = [];
    for (const kind of ["handlers", "jobs", "waits"]) {
      const of = model.ofRow[kind].of(row);
      if (!of.length) continue;
      let [sum, longest] = [0, of[0]];
      const length = (i) => model.endOf(kind, i) - model[kind].begin[i];
      for (const i of of) {
        sum += length(i);
        if (length(i) > length(longest)) longest = i;
        if (bad.length < LISTED_MAX && model.isTrouble({ kind, i })) bad.push({ kind, i });
      }
      facts.push([kind, `${count(of.length)}, ${duration(sum)} in all`]);
      lists.push({ heading: `Longest of its ${kind}`, links: [this.link(model.told({ kind, i: longest }))] });
    }
    for (const i of model.ofRow.marks.of(row)) {
      if (bad.length < 2 * LISTED_MAX && model.isTrouble({ kind: "marks", i })) bad.push({ kind: "marks", i });
    }
    bad.sort((a, b) => model.span(a)[0] - model.span(b)[0]);
    const links = bad.slice(0, LISTED_MAX).map((thing) => this.link(model.told(thing)));
    const troubles = { heading: "Troubles", links, more: bad.length - links.length, none: "none" };
    return { under: row >= 0 && model.rows.parent[row] >= 0 ? `below ${this.name(model.rows.parent[row])}` : "at the top", facts,
      lists: [troubles, ...lists] };
  }
}

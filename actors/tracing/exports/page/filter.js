// What is shown: kinds, actors, types, words. A change sorts everything anew, so that frames need not ask.

const KIND_NAMES = {
  handlers: "handlers", jobs: "jobs (below)", waits: "waits", messages: "messages", marks: "marks", states: "states",
};

class Filter {
  constructor(model) {
    this.model = model;
    this.kinds = new Set(KINDS);
    this.actors = this.types = this.words = "";
  }

  set({ kinds, actors, types, words }) {
    this.kinds = new Set(kinds ?? this.kinds);
    this.actors = (actors ?? this.actors).trim().toLowerCase();
    this.types = (types ?? this.types).trim().toLowerCase();
    this.words = (words ?? this.words).trim().toLowerCase();
  }

  get isOn() {
    return this.kinds.size < KINDS.length || Boolean(this.actors || this.types || this.words);
  }

  // Whether an actor is asked for. Several parts of paths may be given, with commas between them.
  hasRow(row) {
    const parts = this.actors.split(",").map((part) => part.trim()).filter(Boolean);
    const name = this.model.names[row].toLowerCase();
    return !parts.length || parts.some((part) => name.includes(part));
  }

  // Says of each text whether the needle is in it; null when there is no needle.
  matching(needle) {
    if (!needle) return null;
    return Uint8Array.from(this.model.strings, (text) => (text.toLowerCase().includes(needle) ? 1 : 0));
  }

  // A function that says of an index whether that thing is shown.
  predicate(kind) {
    if (!this.kinds.has(kind)) return () => false;
    const typed = this.matching(this.types);
    const worded = this.matching(this.words);
    const types = typed && this.columns(kind, TYPE_COLUMNS);
    const words = worded && this.columns(kind, TEXT_COLUMNS);
    return (i) => (!types || !types.length || types.some((of) => typed[of(i)] === 1))
      && (!words || words.some((of) => worded[of(i)] === 1));
  }

  columns(kind, columns) {
    const { model } = this;
    const typeOf = (message) => (message >= 0 ? model.messages.type[message] : model.head.empty);
    return (columns[kind] ?? []).map((name) => {
      const values = model[kind][name];
      return MESSAGE_COLUMNS.has(name) ? (i) => typeOf(values[i]) : (i) => values[i];
    });
  }
}

// Where a type of message or the name of a job stands: that of the thing, or of the message it belongs to.
const TYPE_COLUMNS = {
  handlers: ["type"], messages: ["type", "answer"], jobs: ["name", "cause"], waits: ["about", "cause"], marks: ["cause"],
};
const MESSAGE_COLUMNS = new Set(["cause", "about", "message"]);

// Where words stand that people look for.
const TEXT_COLUMNS = {
  handlers: ["type", "error", "outcome"], messages: ["type", "answer", "lost_why"], jobs: ["name", "detail"],
  waits: ["target", "reason", "outcome"], marks: ["kind", "text"], states: ["name"],
};

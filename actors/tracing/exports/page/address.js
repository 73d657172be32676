// What is looked at, in the part of the page's address behind #: a link leads others to the same moment.

const WAIT_MS = 250; // browsers refuse an address that changes too often

class Address {
  constructor(app) {
    this.app = app;
    this.timer = 0;
    window.addEventListener("hashchange", () => this.read());
  }

  // #t=1.5,2.25&s=messages:41 - a message by its number, an actor by its path, anything else by its index.
  text() {
    const { view, selection, model } = this.app;
    const parts = [`t=${view.begin.toFixed(9)},${view.end.toFixed(9)}`];
    if (selection) {
      const { kind, i } = selection;
      const name = kind === "messages" ? model.messages.number[i] : kind === "rows" ? encodeName(model.names[i]) : i;
      parts.push(`s=${kind}:${name}`);
    }
    return `#${parts.join("&")}`;
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => history.replaceState(null, "", this.text()), WAIT_MS);
  }

  read() {
    const { app } = this;
    const parts = Object.fromEntries(location.hash.slice(1).split("&").map((part) => part.split(/=(.*)/s)));
    const thing = this.thing(parts.s ?? "");
    if (thing) app.select(thing, { move: !parts.t });
    const [begin, end] = (parts.t ?? "").split(",").map(Number);
    if (Number.isFinite(begin) && Number.isFinite(end) && begin < end) app.view.show(begin, end);
    app.moved();
  }

  thing(text) {
    const { model } = this.app;
    const [kind, name = ""] = text.split(/:(.*)/s);
    if (kind === "messages") {
      const i = model.indexOf.get(Number(name));
      return i === undefined ? null : { kind, i };
    }
    if (kind === "rows") {
      const i = model.names.findIndex((path) => encodeName(path) === name);
      return i < 0 ? null : { kind, i };
    }
    const i = Number(name || NaN);
    return KINDS.includes(kind) && Number.isInteger(i) && i >= 0 && i < model[kind].count ? { kind, i } : null;
  }
}

function encodeName(name) {
  return encodeURIComponent(whole(name));
}

// The page: its parts, what is selected, and when it is drawn.

class App {
  constructor(data) {
    this.model = new Model(data);
    this.filter = new Filter(this.model);
    this.lanes = new Lanes(this.model, this.filter);
    this.layout = new Layout(this.model);
    this.layout.update(this.lanes, this.filter);
    this.view = new View(this.model.end);
    this.search = new Search(this.model, this.filter);
    this.stories = new Stories(this.model);
    this.theme = new Theme();
    this.scroll = 0;
    this.selection = null;
    this.related = new Map();
    this.painter = new Painter(byId("timeline"), this);
    this.minimap = new Minimap(byId("minimap"), this);
    this.rowNames = new RowNames(this);
    this.panel = new Panel(this);
    this.address = new Address(this);
    this.asked = 0;
    this.listen();
  }

  listen() {
    listenToFields(this);
    listenToKeys(this);
    listenToPointers(this);
    new ResizeObserver(() => this.schedule()).observe(byId("plot"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
  }

  begin() {
    const { head } = this.model;
    document.title = `Trace: ${shown(head.title)}`;
    byId("title").textContent = shown(head.title);
    byId("corner").textContent = plural(this.model.rows.count, "row");
    for (const name of this.commonTypes()) byId("types").append(element("option", { value: name }));
    this.panel.run();
    this.panel.story(null);
    this.recolour();
    this.painter.resize();
    this.address.read();
    this.draw();
  }

  // Types and names of jobs, for the field that asks for one.
  commonTypes() {
    const names = new Set();
    for (const column of [this.model.messages.type, this.model.jobs.name]) {
      for (const name of column) if (names.size < 300) names.add(name);
    }
    return [...names].map((name) => shown(this.model.text(name))).filter(Boolean).sort();
  }

  recolour() {
    this.theme = new Theme();
    for (const canvas of document.querySelectorAll("canvas[data-sign]")) drawSign(canvas, canvas.dataset.sign, this.theme);
    this.schedule();
  }

  // Drawing: at most once a frame, and only when something has changed.

  schedule() {
    if (!this.asked) this.asked = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
    this.painter.frame();
    this.minimap.frame();
    this.rowNames.frame(this.painter.drawn.rows);
    this.notes();
  }

  moved() {
    this.schedule();
    this.address.later();
  }

  scrolled(to) {
    this.scroll = to;
    this.schedule();
  }

  arrowsNote(hidden) {
    this.arrowsHidden = hidden;
  }

  notes() {
    const notes = [];
    if (this.arrowsHidden) notes.push(`${plural(this.arrowsHidden, "message")} in view: zoom in for their arrows`);
    if (this.selectedRow >= 0 && this.layout.place[this.selectedRow] < 0) notes.push("what is selected is hidden");
    if (!this.layout.visible.length) notes.push("no actor has such a name");
    const note = notes.join("; ");
    if (byId("notes").textContent !== note) byId("notes").textContent = note;
  }

  // Moving

  zoom(factor) {
    this.view.zoom(factor);
    this.moved();
  }

  pan(part) {
    this.view.pan(part * this.view.width);
    this.moved();
  }

  fit() {
    this.view.fit();
    this.moved();
  }

  zoomToSelection() {
    if (!this.selection) return;
    const [begin, end] = this.model.span(this.selection);
    const length = Math.max(end - begin, 10 * SPAN_MIN);
    this.view.show(begin - 0.3 * length, end + 0.3 * length);
    this.moved();
  }

  // Bring a row into view, opening what hides it.
  showRow(row) {
    if (row < 0) return;
    if (this.layout.place[row] < 0 && this.layout.reveal(row)) this.layout.update(this.lanes, this.filter);
    const place = this.layout.place[row];
    if (place < 0) return;
    const box = byId("rows");
    byId("rows-inner").style.height = `${this.layout.height + 40}px`;
    const room = box.clientHeight;
    const [top, bottom] = [this.layout.tops[place], this.layout.tops[place + 1]];
    if (top < box.scrollTop || bottom > box.scrollTop + room) box.scrollTop = Math.max(0, top - room / 3);
    this.scroll = box.scrollTop;
  }

  toggle(row) {
    this.layout.toggle(row);
    this.layout.update(this.lanes, this.filter);
    this.schedule();
  }

  // Selecting

  get selectedRow() {
    return this.selection ? this.model.rowOf(this.selection) : -1;
  }

  // Select a thing and tell its story; null for nothing. With `move` it is brought into view.
  select(thing, { move = true } = {}) {
    this.selection = thing && this.model.told(thing);
    this.related = relatedTo(this);
    if (this.selection) {
      const story = this.stories.of(this.selection);
      this.panel.story(story);
      this.panel.show("story");
      byId("said").textContent = `${shown(story.title)}, ${shown(story.under)}`;
      if (move) {
        if (this.selection.kind !== "rows") this.view.reveal(this.surroundings(thing), this.model.span(thing));
        this.showRow(this.model.rowOf(this.selection));
      }
    } else {
      this.panel.story(null);
      this.panel.show("run");
    }
    this.moved();
  }

  // What should be seen of a thing: all of it. A moment is seen in the handler it belongs to.
  surroundings(thing) {
    const { model } = this;
    const cause = thing.kind === "marks" ? model.causeOf(thing) : -1;
    const handler = cause >= 0 ? model.handlerOf[cause] : -1;
    if (handler >= 0) return model.span({ kind: "handlers", i: handler });
    const [begin, end] = model.span(thing);
    return thing.kind === "marks" ? [begin - 0.0005 * model.end, end + 0.0005 * model.end] : [begin, end];
  }

  click(x, y) {
    const thing = thingAt(this, this.painter, x, y);
    if (thing) this.select(thing, { move: false });
    else this.select(null);
  }

  hover(x, y) {
    const thing = thingAt(this, this.painter, x, y);
    this.tip(thing && this.model.told(thing), x, y);
  }

  tip(thing, x = 0, y = 0) {
    const tip = byId("tip");
    tip.hidden = !thing;
    if (!thing) return;
    const { text, note } = this.stories.link(thing);
    tip.textContent = `${shown(text)}\n${shown(note)}`;
    const room = byId("plot");
    tip.style.left = `${Math.min(x + 14, Math.max(0, room.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.min(y + 16, Math.max(0, room.clientHeight - tip.offsetHeight - 4))}px`;
  }

  toCause() {
    const [cause] = this.selection ? this.model.causes(this.selection) : [];
    if (cause !== undefined) this.select({ kind: "messages", i: cause });
  }

  // The next thing of the same kind in the same row; a handler to begin with.
  neighbour(by) {
    const { selection, model } = this;
    const row = this.selectedRow < 0 ? this.layout.visible[this.layout.placeAt(this.scroll)] ?? 0 : this.selectedRow;
    const message = selection?.kind === "messages";
    const kind = !selection || message || !(selection.kind in model.ofRow) ? "handlers" : selection.kind;
    const of = model.ofRow[kind].of(row);
    const at = message ? of.indexOf(model.handlerOf[selection.i]) : kind === selection?.kind ? of.indexOf(selection.i) : -1;
    const begins = model[kind].begin ?? model[kind].time;
    const next = at >= 0 ? at + by : of.findIndex((i) => begins[i] >= this.view.begin);
    if (of[next] !== undefined) this.select({ kind, i: of[next] });
  }

  neighbourRow(by) {
    const place = this.layout.place[this.selectedRow];
    const next = place === undefined || place < 0 ? this.layout.placeAt(this.scroll) : place + by;
    const row = this.layout.visible[next];
    if (row !== undefined) this.select({ kind: "rows", i: row });
  }

  readStory() {
    if (!this.selection) return;
    const first = byId("story").querySelector("button");
    (first ?? byId("tab-story")).focus();
  }

  // Filter and search

  setFilter(changes) {
    this.filter.set(changes);
    this.lanes = new Lanes(this.model, this.filter);
    this.layout.update(this.lanes, this.filter);
    this.schedule();
  }

  find(query) {
    this.search.find(query);
    this.sayHits(query.trim() ? "nothing found" : "");
    if (this.search.length) this.step(1);
  }

  hits(things) {
    this.search.take(things);
    this.step(1);
  }

  step(by) {
    const thing = this.search.step(by);
    if (thing) this.select(thing);
    this.sayHits(byId("hits").textContent);
  }

  sayHits(none) {
    const { search } = this;
    byId("hits").textContent = search.length ? `${count(Math.max(0, search.at) + 1)} of ${count(search.length)}` : none;
  }
}

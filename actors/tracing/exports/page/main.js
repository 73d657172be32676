// The start, and `window.__trace`, through which tests and curious people ask the page what it shows.

// ready: whether everything is there; error: why it will not be.
const debug = { ready: false, error: "" };
window.__trace = debug;

function openToQuestions(app) {
  Object.assign(debug, {
    app,
    // Names of the actors that have rows now, from the top.
    rows: () => app.layout.visible.map((row) => app.model.names[row]),
    // What the last frame has drawn: counts, rows and arrows, with their places in CSS pixels of the timeline.
    drawn: () => app.painter.drawn,
    // Draw now; how long that takes, in milliseconds, the pixels included.
    frame: () => {
      const begun = performance.now();
      app.draw();
      app.painter.context.getImageData(0, 0, 1, 1);
      return performance.now() - begun;
    },
    range: () => [app.view.begin, app.view.end],
    show: (begin, end) => {
      app.view.show(begin, end);
      app.moved();
      app.draw();
    },
    selection: () => app.selection,
    select: (kind, i) => app.select({ kind, i }),
    // What is selected, in the words of the panel.
    story: () => (app.selection ? app.stories.of(app.selection) : null),
    // The number of each message, by index.
    messages: () => Array.from(app.model.messages.number),
    // All of one kind, as objects with texts instead of numbers where they are such. Meant for small traces.
    things: (kind) => thingsOf(app.model, kind),
    // Where the middle of a thing is, in CSS pixels of the timeline, as it stands now; null for out of view.
    place: (kind, i) => placeOf(app, kind, i),
  });
}

const TEXTS = new Set(["type", "answer", "lost_why", "name", "detail", "target", "reason", "outcome", "kind", "text", "error"]);

function thingsOf(model, kind) {
  const { count: n, ...columns } = model[kind];
  return Array.from({ length: n }, (_, i) => Object.fromEntries(Object.entries(columns).map(([name, values]) =>
    [name, TEXTS.has(name) ? model.text(values[i]) : Number.isNaN(values[i]) ? null : values[i]])));
}

function placeOf(app, kind, i) {
  const { layout, view, model, lanes } = app;
  const row = model[kind].row[i];
  const place = layout.place[row];
  if (place < 0) return null;
  const lane = kind === "marks" ? "handlers" : kind;
  const [begin, end] = model.span({ kind, i });
  const x = view.x((Math.max(begin, view.begin) + Math.min(end, view.end)) / 2);
  const tracks = kind === "marks" ? [] : lanes[kind][row];
  const number = Math.max(0, tracks.findIndex((track) => track.items.includes(i)));
  const down = Math.min(number, (SHOWN_MAX[kind] ?? 1) - 1) * SIZE[lane] + SIZE[lane] / 2;
  const y = HEAD + layout.tops[place] + layout.parts[place][lane] + down - app.scroll;
  return x >= 0 && x <= view.width && y >= HEAD && y <= byId("timeline").clientHeight ? { x, y } : null;
}

async function begin() {
  const data = await readData((part) => {
    byId("bar").value = part;
    byId("progress").textContent = `Reading the trace: ${Math.round(part * 100)} %`;
  });
  byId("progress").textContent = "Putting it in order …";
  await breathe();
  const app = new App(data);
  await breathe();
  app.begin();
  byId("loading").hidden = true;
  openToQuestions(app);
  debug.ready = true;
}

begin().catch((error) => {
  debug.error = String(error.stack ?? error);
  byId("bar").hidden = true;
  byId("progress").textContent = `This page cannot show its trace: ${error.message}`;
});

// What hands do: mouse, touch, keys, the fields at the top.

const KEYS = [
  ["w  +", "zoom in", (app) => app.zoom(0.7)],
  ["s  -", "zoom out", (app) => app.zoom(1 / 0.7)],
  ["a", "move left", (app) => app.pan(-0.2)],
  ["d", "move right", (app) => app.pan(0.2)],
  ["f", "the whole run", (app) => app.fit()],
  ["z", "zoom to what is selected", (app) => app.zoomToSelection()],
  ["c", "go to its cause", (app) => app.toCause()],
  ["/", "search", () => byId("query").focus()],
  ["n", "next hit", (app) => app.step(1)],
  ["p", "previous hit", (app) => app.step(-1)],
  ["Escape", "select nothing", (app) => app.select(null)],
  ["?", "these signs and keys", () => byId("help").showModal()],
];
const TIMELINE_KEYS = [
  ["ArrowLeft", "in the timeline: the one before, in the same row", (app) => app.neighbour(-1)],
  ["ArrowRight", "in the timeline: the next one", (app) => app.neighbour(1)],
  ["ArrowUp", "in the timeline: the actor above", (app) => app.neighbourRow(-1)],
  ["ArrowDown", "in the timeline: the actor below", (app) => app.neighbourRow(1)],
  ["Enter", "in the timeline: read the story", (app) => app.readStory()],
];
const TYPED = new Map([...KEYS, ...TIMELINE_KEYS].flatMap(([keys, , act]) => keys.split(/ +/).map((key) => [key, act])));
TYPED.set("=", TYPED.get("+"));
const CLICK = 4; // CSS pixels that a press may move and still be a click

function listenToKeys(app) {
  const only = new Set(TIMELINE_KEYS.map(([key]) => key));
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, dialog");
    if (field) {
      if (event.key === "Escape" && field.tagName === "INPUT") byId("timeline").focus();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (only.has(event.key) && event.target !== byId("timeline")) return;
    const act = TYPED.get(event.key);
    if (!act) return;
    act(app);
    event.preventDefault();
  });
  for (const [keys, does] of [...KEYS, ...TIMELINE_KEYS]) {
    byId("keys").append(element("dt", {}, keys), element("dd", {}, does));
  }
}

function listenToPointers(app) {
  const canvas = byId("timeline");
  const held = new Map(); // pointer -> where it was last
  let [moved, apart] = [0, 0];
  const distance = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    moved = held.size > 1 ? Infinity : 0;
    if (held.size === 2) apart = distance();
    app.tip(null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) {
      app.hover(event.offsetX, event.offsetY);
      return;
    }
    const [dx, dy] = [event.offsetX - last.x, event.offsetY - last.y];
    held.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    moved += Math.abs(dx) + Math.abs(dy);
    if (held.size === 2) { // two fingers: pinch
      const [a, b] = [...held.values()];
      app.view.zoom(apart / Math.max(1, distance()), (a.x + b.x) / 2);
      apart = distance();
      app.moved();
    } else if (moved > CLICK) {
      canvas.classList.add("dragged");
      app.view.pan(-dx);
      byId("rows").scrollTop -= dy;
      app.moved();
    }
  });
  const release = (event) => {
    if (held.delete(event.pointerId) && event.type === "pointerup" && moved <= CLICK) app.click(event.offsetX, event.offsetY);
    if (!held.size) canvas.classList.remove("dragged");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => app.tip(null));
  canvas.addEventListener("dblclick", () => app.fit());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : 1;
    if (event.shiftKey) byId("rows").scrollTop += (event.deltaY || event.deltaX) * unit;
    else {
      if (event.deltaX) app.view.pan(event.deltaX * unit);
      // A pinch on a touch pad comes as a wheel with the control key, in small steps.
      if (event.deltaY) app.view.zoom(Math.exp(event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)), event.offsetX);
    }
    app.moved();
  }, { passive: false });
}

// The place of a sign, which is drawn when the colours are known. The words beside it say what it shows.
function signOf(sign) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  canvas.dataset.sign = sign;
  return canvas;
}

function listenToFields(app) {
  const typed = (node, act) => {
    let timer = 0;
    node.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(act, 180);
    });
  };
  const filter = () => app.setFilter({
    actors: byId("filter-actors").value, types: byId("filter-types").value, words: byId("filter-text").value,
    kinds: KINDS.filter((kind) => byId(`kind-${kind}`).checked),
  });
  for (const kind of KINDS) {
    const box = element("input", { type: "checkbox", id: `kind-${kind}`, checked: true, defaultChecked: true });
    box.addEventListener("change", filter);
    byId("kinds").append(element("label", { title: SIGNS[kind] ?? "" }, box, signOf(kind), KIND_NAMES[kind]));
  }
  for (const [sign, words] of Object.entries(SIGNS)) {
    byId("signs").append(element("dt", {}, signOf(sign)), element("dd", {}, words));
  }
  for (const name of ["actors", "types", "text"]) typed(byId(`filter-${name}`), filter);
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("reset", () => setTimeout(filter, 0));
  const query = byId("query");
  let searched = "";
  // Search for what is not searched for yet: Enter may have come before the pause in typing.
  const search = () => {
    if (query.value === searched) return false;
    searched = query.value;
    app.find(searched);
    return true;
  };
  typed(query, search);
  const step = (by) => search() || app.step(by);
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    step(1);
  });
  query.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.shiftKey) return;
    event.preventDefault();
    step(-1);
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("zoom-in").addEventListener("click", () => app.zoom(0.6));
  byId("zoom-out").addEventListener("click", () => app.zoom(1 / 0.6));
  byId("fit").addEventListener("click", () => app.fit());
  byId("help-button").addEventListener("click", () => byId("help").showModal());
}

// Messages as arrows, from who sent them to who received them, and dashed from there back with the answer.

const ARROWS_MAX = 400; // in view; where there are more nothing could be told from them
const RELATED_MAX = 200; // effects of what is selected

function arrow(context, colour, [x1, y1], [x2, y2], { dashed = false, width = 1.2, lost = false } = {}) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dashed ? [4, 3] : []);
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
  context.setLineDash([]);
  const angle = Math.atan2(y2 - y1, x2 - x1);
  context.beginPath();
  if (lost) { // a cross instead of a head
    for (const turn of [0.785, 2.356]) {
      context.moveTo(x2 - 5 * Math.cos(angle + turn), y2 - 5 * Math.sin(angle + turn));
      context.lineTo(x2 + 5 * Math.cos(angle + turn), y2 + 5 * Math.sin(angle + turn));
    }
    context.stroke();
    return;
  }
  context.moveTo(x2, y2);
  for (const turn of [2.7, -2.7]) context.lineTo(x2 + 7 * Math.cos(angle + turn), y2 + 7 * Math.sin(angle + turn));
  context.fill();
}

// Both ways of a message, as far as the trace tells of them: {message, reply, from, to: {row, time}, lost}.
function waysOf(model, message) {
  const m = model.messages;
  const found = [];
  const from = { row: m.from[message], time: m.sent[message] };
  const to = { row: m.to[message], time: m.received[message] };
  if (!Number.isNaN(from.time) && from.row >= 0 && to.row >= 0) {
    const received = !Number.isNaN(to.time);
    const lost = !received && !Number.isNaN(m.lost[message]);
    // One that nobody took, or that code outside took, ends where it was lost, or at once.
    const time = received ? to.time : lost ? m.lost[message] : from.time;
    found.push({ message, reply: false, from, to: { row: to.row, time }, lost });
  }
  const replied = m.replied[message];
  if (!Number.isNaN(replied) && from.row >= 0 && to.row >= 0) {
    const heard = m.heard[message];
    const back = { row: from.row, time: Number.isNaN(heard) ? replied : heard };
    found.push({ message, reply: true, from: { row: to.row, time: replied }, to: back, lost: false });
  }
  return found;
}

// Messages with an end in view, or null if they are too many.
function messagesInView({ lanes, view }) {
  const found = new Set();
  let total = 0;
  const ranges = Object.values(lanes.arrows).map(({ items, time }) => {
    const range = items.subarray(lowerBound(time, view.begin), upperBound(time, view.end));
    total += range.length;
    return range;
  });
  if (total > ARROWS_MAX * 2) return { total: Math.max(...ranges.map((range) => range.length)), messages: null };
  for (const range of ranges) for (const message of range) found.add(message);
  return { total: found.size, messages: found.size > ARROWS_MAX ? null : found };
}

// What is drawn because of the selection: message -> why. It is drawn however many others there are.
function relatedTo({ model, selection }) {
  const why = new Map();
  if (!selection || selection.kind === "rows") return why;
  const about = selection.kind === "waits" ? model.waits.about[selection.i] : -1;
  const message = selection.kind === "messages" ? selection.i : about;
  if (message >= 0) {
    for (const effect of model.effects.messages.of(message).subarray(0, RELATED_MAX)) why.set(effect, "effect");
  }
  for (const cause of model.causes(selection)) why.set(cause, "cause");
  if (message >= 0) why.set(message, "selected");
  return why;
}

function paintArrows(painter) {
  const { app, context, drawn } = painter;
  const { theme, view, layout, model } = app;
  const colours = { view: theme.soft, cause: theme.cause, effect: theme.effect, selected: theme.accent };
  const related = app.related;
  const { total, messages } = messagesInView(app);
  app.arrowsNote(messages || !app.filter.kinds.has("messages") ? 0 : total);
  const y = (row) => HEAD + layout.anchor(row) - app.scroll;
  const draw = (message, why) => {
    for (const way of waysOf(model, message)) {
      const from = [view.x(way.from.time), y(way.from.row)];
      const to = [view.x(way.to.time), y(way.to.row)];
      const outside = Math.max(from[0], to[0]) < 0 || Math.min(from[0], to[0]) > painter.width
        || Math.max(from[1], to[1]) < HEAD || Math.min(from[1], to[1]) > painter.height;
      if (outside || Number.isNaN(from[1] + to[1])) continue;
      context.globalAlpha = why === "view" ? 0.55 : 1; // what is below is still to be read
      arrow(context, way.lost ? theme.trouble : colours[why], from, to,
        { dashed: way.reply, width: why === "view" ? 1 : why === "selected" ? 2.4 : 1.7, lost: way.lost });
      context.globalAlpha = 1;
      drawn.arrows.push({ ...way, why, x: [from[0], to[0]], y: [from[1], to[1]] });
    }
  };
  for (const message of messages ?? []) if (!related.has(message)) draw(message, "view");
  for (const [message, why] of related) draw(message, why);
}

// Frames around what is selected and around the handlers it comes from and leads to.
function paintSelection(painter) {
  const { app, context } = painter;
  const { theme, view, layout, model, selection } = app;
  const frame = (kind, i, colour, width) => {
    const row = model[kind].row[i];
    const place = layout.place[row];
    if (place < 0) return;
    const parts = layout.parts[place];
    const lane = kind === "marks" ? "handlers" : kind;
    const tall = SIZE[lane] * (kind === "jobs" || kind === "waits" ? Math.min(app.lanes[kind][row].length, SHOWN_MAX[kind]) : 1);
    const [begin, end] = model.span({ kind, i });
    const x = Math.max(-20, Math.min(view.x(begin), painter.width + 20));
    const right = Math.max(-20, Math.min(view.x(end), painter.width + 20));
    context.strokeStyle = colour;
    context.lineWidth = width;
    const top = HEAD + layout.tops[place] + parts[lane] - app.scroll;
    context.strokeRect(x - 2, top - 1.5, Math.max(right - x, 1) + 4, tall + 2.5);
  };
  const colours = { cause: theme.cause, effect: theme.effect, selected: theme.accent };
  for (const [message, why] of app.related) {
    const handler = model.handlerOf[message];
    if (handler >= 0) frame("handlers", handler, colours[why], why === "selected" ? 2.5 : 1.3);
  }
  if (selection && !["messages", "rows"].includes(selection.kind)) frame(selection.kind, selection.i, theme.accent, 2.5);
}

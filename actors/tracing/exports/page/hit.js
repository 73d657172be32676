// What is at a point of the timeline.

const NEAR = 6; // CSS pixels

function thingAt(app, painter, x, y) {
  const { layout, lanes, view } = app;
  if (y < HEAD || !layout.visible.length) return null;
  const down = y - HEAD + app.scroll;
  if (down >= layout.height) return arrowAt(painter, x, y);
  const place = layout.placeAt(down);
  const row = layout.visible[place];
  const parts = layout.parts[place];
  const within = down - layout.tops[place];
  const time = view.time(x);
  const around = 2 / view.scale;
  if (within >= parts.handlers && within < parts.jobs) {
    const mark = markAt(lanes, row, time, NEAR / view.scale);
    if (mark >= 0) return { kind: "marks", i: mark };
  }
  const kind = within >= parts.waits ? "waits" : within >= parts.jobs ? "jobs" : within >= parts.handlers ? "handlers" : "states";
  const tracks = lanes[kind][row];
  const number = Math.floor((within - parts[kind]) / SIZE[kind]);
  // Tracks beyond those that have room lie upon the last one.
  const upon = kind in SHOWN_MAX && number === SHOWN_MAX[kind] - 1;
  const looked = kind in SHOWN_MAX ? (upon ? tracks.slice(number).reverse() : tracks.slice(Math.max(number, 0), number + 1)) : tracks;
  for (const track of looked) {
    const i = track.at(time, around);
    if (i >= 0) return { kind, i };
  }
  return arrowAt(painter, x, y);
}

// The weightiest mark near a time, and of those that lie upon each other the earliest, which is the one drawn.
function markAt(lanes, row, time, around) {
  for (const weight of [2, 1, 0]) {
    const marks = lanes.marks[weight][row];
    const from = lowerBound(marks.time, time - around);
    const to = upperBound(marks.time, time + around);
    let nearest = Infinity;
    for (let k = from; k < to; k++) nearest = Math.min(nearest, Math.abs(marks.time[k] - time));
    for (let k = from; k < to; k++) if (Math.abs(marks.time[k] - time) <= nearest + around / 3) return marks.items[k];
  }
  return -1;
}

function arrowAt(painter, x, y) {
  let [found, best] = [null, NEAR];
  for (const { message, x: [x1, x2], y: [y1, y2] } of painter.drawn.arrows) {
    const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
    const along = length ? Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length)) : 0;
    const away = Math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1));
    if (away < best) [found, best] = [{ kind: "messages", i: message }, away];
  }
  return found;
}

// One frame of the timeline. What it costs depends on the pixels, not on the length of the trace: spans that are
// narrower than a few pixels are not drawn one by one, but as the part of each pixel that they take.

const WIDE = 5; // device pixels from which on a span is drawn as itself
const LABEL = 36; // CSS pixels from which on it has words in it
const GLYPH = 6.3; // CSS pixels that a letter takes
const MARK_APART = 9; // CSS pixels between two marks of a row

class Painter {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.app = app;
    this.context = canvas.getContext("2d", { alpha: false });
    this.strips = document.createElement("canvas"); // a row of pixels for each track in view
    this.stripes = this.stripesPattern();
  }

  // Jobs are striped, so that they are told from handlers by more than their place.
  stripesPattern() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const context = tile.getContext("2d");
    context.strokeStyle = "rgba(20, 23, 27, 0.42)";
    context.lineWidth = 1.4;
    for (const at of [-6, 0, 6]) {
      context.beginPath();
      context.moveTo(at - 1, 7);
      context.lineTo(at + 7, -1);
      context.stroke();
    }
    return this.context.createPattern(tile, "repeat");
  }

  // Follow the size of the window. In device pixels, so that lines are sharp.
  resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.width = Math.max(1, this.canvas.clientWidth);
    this.height = Math.max(1, this.canvas.clientHeight);
    this.app.view.width = this.width;
    const [width, height] = [this.width * this.ratio, this.height * this.ratio].map(Math.round);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
  }

  frame() {
    this.resize();
    const { context, app } = this;
    this.drawn = { rects: 0, pixels: 0, labels: 0, marks: 0, arrows: [], rows: [] };
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = app.theme.ground;
    context.fillRect(0, 0, this.width, this.height);
    const { layout } = app;
    const first = layout.placeAt(app.scroll);
    const last = layout.placeAt(app.scroll + this.height - HEAD);
    this.openStrips(last - first + 1);
    context.save();
    context.beginPath();
    context.rect(0, HEAD, this.width, this.height - HEAD);
    context.clip();
    this.grid();
    for (let place = first; place <= last && place < layout.visible.length; place++) this.row(place);
    this.closeStrips();
    for (let place = first; place <= last && place < layout.visible.length; place++) this.marks(place);
    paintSelection(this);
    paintArrows(this);
    context.restore();
    this.axis();
  }

  // Rows

  row(place) {
    const { app, context } = this;
    const row = app.layout.visible[place];
    const top = HEAD + app.layout.tops[place] - app.scroll;
    const parts = app.layout.parts[place];
    this.drawn.rows.push({ row, top, height: parts.height });
    context.fillStyle = app.theme.grid;
    context.fillRect(0, top + parts.height - 1, this.width, 1);
    if (app.filter.kinds.has("states")) this.lane("states", row, top + parts.states);
    this.lane("handlers", row, top + parts.handlers);
    this.lane("jobs", row, top + parts.jobs);
    this.lane("waits", row, top + parts.waits);
  }

  lane(kind, row, top) {
    const tracks = this.app.lanes[kind][row];
    const brush = this.brushes(kind);
    const most = SHOWN_MAX[kind] ?? 1;
    let strip = -1;
    tracks.forEach((track, number) => {
      const y = top + Math.min(number, most - 1) * SIZE[kind];
      if (number < most) strip = this.addStrip(y, SIZE[kind]);
      this.track(track, strip, y, SIZE[kind], brush);
    });
  }

  // How the spans of a kind look: a colour as a number for pixels, and how to draw one that is wide.
  brushes(kind) {
    const { model, theme } = this.app;
    if (kind === "states") {
      const colour = (i) => theme.ofState(model.text(model.states.name[i]));
      return { number: (i) => theme.number(colour(i)), wide: (i, x, y, w, h) => this.fill(colour(i), x, y, w, h) };
    }
    if (kind === "waits") {
      const colour = (i) => theme.ofWait(model.text(model.waits.outcome[i]), Number.isNaN(model.waits.end[i]));
      return { number: (i) => theme.number(colour(i)), wide: (i, x, y, w) => this.fill(colour(i), x, y, w, 2) };
    }
    const names = kind === "jobs" ? model.jobs.name : model.handlers.type;
    const number = (i) => PALETTE_PACKED[model.colourOf[names[i]]];
    const wide = kind === "jobs" ? this.job.bind(this) : this.handler.bind(this);
    return { number, wide };
  }

  fill(colour, x, y, w, h) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, w, h);
    this.drawn.rects++;
  }

  handler(i, x, y, w, h) {
    const { model, theme } = this.app;
    const type = model.handlers.type[i];
    this.fill(PALETTE[model.colourOf[type]], x, y, w - 0.5, h);
    if (model.isTrouble({ kind: "handlers", i })) this.fill(theme.trouble, x, y + h - 3, w - 0.5, 3);
    this.label(model.text(type), x, y, w, h);
  }

  // The time in the queue is a frame, the time in the thread is filled.
  job(i, x, y, w, h) {
    const { model, theme, view } = this.app;
    const colour = PALETTE[model.colourOf[model.jobs.name[i]]];
    const from = Math.max(x, Math.min(x + w, view.x(model.jobs.begin[i])));
    if (from - x > 1) {
      this.fill(colour, x, y + 1, from - x, 1);
      this.fill(colour, x, y + h - 2, from - x, 1);
    }
    this.fill(colour, from, y, Math.max(x + w - from, 1), h - 1);
    this.fill(this.stripes, from, y, Math.max(x + w - from, 1), h - 1);
    if (model.jobs.left[i]) this.fill(theme.trouble, x, y + h - 2, w, 2);
  }

  // As much of the last part of a dotted name as fits.
  label(text, x, y, w, h) {
    const from = Math.max(0, x);
    const room = Math.min(x + w, this.width) - from - 6;
    if (room < LABEL) return;
    const letters = Math.floor(room / GLYPH);
    const word = shown(text.slice(text.lastIndexOf(".") + 1, text.length) || text);
    const { context } = this;
    context.fillStyle = this.app.theme.ink;
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "middle";
    context.fillText(word.length > letters ? `${word.slice(0, letters - 1)}…` : word, from + 3, y + h / 2 + 0.5);
    this.drawn.labels++;
  }

  // One track, from its first span in view on: wide ones as themselves, the others by the pixel.
  track(track, strip, y, height, brush) {
    const { view } = this.app;
    const scale = view.scale * this.ratio; // device pixels in a second
    const { begin, end, busy, items } = track;
    const x = (time) => (time - view.begin) * scale;
    let k = upperBound(end, view.begin);
    while (k < items.length && begin[k] < view.end) {
      const from = x(begin[k]);
      const to = x(end[k]);
      if (to - from >= WIDE) {
        const left = Math.max(from, -10) / this.ratio;
        brush.wide(items[k], left, y, Math.min(to / this.ratio, this.width + 10) - left, height);
        k++;
        continue;
      }
      const column = Math.max(0, Math.floor(from));
      let next = gallop(begin, view.begin + (column + 1) / scale, k + 1);
      // A wide one may begin in the same pixel: it has its own turn.
      if (next - 1 > k && (end[next - 1] - begin[next - 1]) * scale >= WIDE) next--;
      const colour = brush.number(items[k]);
      this.pixel(strip, column, colour, (busy[next] - busy[k]) * scale);
      const tail = x(end[next - 1]);
      for (let c = column + 1; c < tail && c < this.columns; c++) this.pixel(strip, c, colour, tail - c);
      k = next;
    }
  }

  // Strips: a row of pixels for each track, put upon the canvas in one go.

  openStrips(rows) {
    this.columns = Math.round(this.width * this.ratio);
    const most = rows * 9 + 1;
    if (!this.image || this.image.width !== this.columns || this.image.height < most) {
      this.image = new ImageData(this.columns, most);
      this.strips.width = this.columns;
      this.strips.height = most;
      this.pixels = new Uint32Array(this.image.data.buffer);
    } else this.pixels.fill(0);
    this.placed = [];
  }

  addStrip(y, height) {
    this.placed.push({ y, height, used: false });
    return this.placed.length - 1;
  }

  // The busier a pixel is, the less of the ground is seen; what is there at all is always seen.
  pixel(strip, column, colour, part) {
    if (column >= this.columns) return;
    const at = strip * this.columns + column;
    const alpha = Math.min(255, (this.pixels[at] >>> 24) + 95 + 160 * Math.min(1, part));
    this.pixels[at] = ((alpha << 24) | colour) >>> 0;
    this.placed[strip].used = true;
    this.drawn.pixels++;
  }

  closeStrips() {
    const context = this.strips.getContext("2d");
    context.putImageData(this.image, 0, 0, 0, 0, this.columns, this.placed.length);
    this.context.imageSmoothingEnabled = false;
    this.placed.forEach(({ y, height, used }, strip) => {
      if (!used) return;
      this.context.drawImage(this.strips, 0, strip, this.columns, 1, 0, y, this.width, height - (height > 4 ? 0.5 : 1));
    });
  }

  // Marks, the weightier above the others, and no two closer than they can be seen

  marks(place) {
    const { app } = this;
    const row = app.layout.visible[place];
    const y = HEAD + app.layout.tops[place] - app.scroll + app.layout.parts[place].handlers + SIZE.handlers / 2;
    app.lanes.marks.forEach((ofRows, weight) => {
      const { items, time } = ofRows[row];
      const step = (weight ? MARK_APART : 4) / app.view.scale;
      for (let k = lowerBound(time, app.view.begin); k < items.length && time[k] <= app.view.end;) {
        const kind = app.model.text(app.model.marks.kind[items[k]]);
        symbol(this.context, kind, app.view.x(time[k]), y, app.theme);
        this.drawn.marks++;
        k = gallop(time, time[k] + step, k + 1);
      }
    });
  }

  // The axis

  grid() {
    const { context, app } = this;
    context.fillStyle = app.theme.grid;
    for (const time of ticks(app.view).times) context.fillRect(Math.round(app.view.x(time)), HEAD, 1, this.height);
  }

  axis() {
    const { context, app } = this;
    const { step, times } = ticks(app.view);
    context.fillStyle = app.theme.raised;
    context.fillRect(0, 0, this.width, HEAD);
    context.fillStyle = app.theme.line;
    context.fillRect(0, HEAD - 1, this.width, 1);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const time of times) {
      const x = Math.round(app.view.x(time));
      context.fillStyle = app.theme.soft;
      context.fillRect(x, HEAD - 6, 1, 6);
      context.fillStyle = app.theme.text;
      context.fillText(axisLabel(time, step), x + 4, HEAD / 2);
    }
  }
}

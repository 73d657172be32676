// The stretch of time in view, and where its moments are on the screen. x is in CSS pixels from the plot's left.

const SPAN_MIN = 1e-7;

class View {
  constructor(end) {
    this.full = [-0.01 * end - SPAN_MIN, 1.01 * end + SPAN_MIN]; // what begins at the edge is seen, too
    [this.begin, this.end] = this.full;
    this.width = 1;
  }

  get span() {
    return this.end - this.begin;
  }

  get scale() {
    return this.width / this.span;
  }

  x(time) {
    return (time - this.begin) * this.scale;
  }

  time(x) {
    return this.begin + x / this.scale;
  }

  // Show a stretch. What is outside the run cannot be shown, and less than SPAN_MIN neither.
  show(begin, end) {
    const [first, last] = this.full;
    const span = Math.min(Math.max(end - begin, SPAN_MIN), last - first);
    const middle = (begin + end) / 2;
    this.begin = Math.max(first, Math.min(last - span, middle - span / 2));
    this.end = this.begin + span;
  }

  fit() {
    this.show(...this.full);
  }

  // A factor below 1 shows less time, larger. What is at x stays there.
  zoom(factor, x = this.width / 2) {
    const span = Math.min(Math.max(this.span * factor, SPAN_MIN), this.full[1] - this.full[0]);
    const begin = this.time(x) - (x / this.width) * span;
    this.show(begin, begin + span);
  }

  pan(pixels) {
    const by = pixels / this.scale;
    this.show(this.begin + by, this.end + by);
  }

  // Bring a stretch into view: moved if it is out of it, and zoomed if it were a speck or did not fit. What
  // matters of it is in view in any case.
  reveal([begin, end], [from, to] = [begin, end]) {
    const length = Math.max(end - begin, SPAN_MIN);
    const middle = (begin + end) / 2;
    if (length > this.span * 0.9) this.show(begin - 0.1 * length, end + 0.1 * length);
    else if (length * this.scale < 8) this.show(middle - length * 12 - 5e-6, middle + length * 12 + 5e-6);
    if (from < this.begin || to > this.end) {
      const half = this.span / 2;
      this.show((from + to) / 2 - half, (from + to) / 2 + half);
    }
  }
}

// Times for the marks of an axis: 1, 2 or 5 times a power of ten apart, and never closer than `apart` pixels.
function ticks(view, apart = 90) {
  const rough = apart / view.scale;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(view.begin / step); k * step <= view.end; k++) found.push(k * step);
  return { step, times: found };
}

// A time on the axis, with as many digits as tell it from its neighbours.
function axisLabel(time, step) {
  const [unit, name] = TIME_UNITS.find(([size]) => Math.max(Math.abs(time), step) >= size * 0.999) ?? TIME_UNITS[3];
  const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step / unit) + 1e-9)));
  return `${(time / unit).toFixed(digits)} ${name}`;
}

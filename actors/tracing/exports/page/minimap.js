// The whole run in one strip: how much happened when, where there was trouble, and which part is in view.

const BUCKETS = 2000;

class Minimap {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.app = app;
    this.counts = new Float64Array(BUCKETS);
    this.troubles = new Uint8Array(BUCKETS);
    const { model } = app;
    for (const times of [model.handlers.begin, model.jobs.begin, model.waits.begin]) {
      for (const time of times) this.counts[this.bucket(time)]++;
    }
    for (let i = 0; i < model.marks.count; i++) {
      if (model.isTrouble({ kind: "marks", i })) this.troubles[this.bucket(model.marks.time[i])] = 1;
    }
    for (let i = 0; i < model.waits.count; i++) {
      if (model.isTrouble({ kind: "waits", i })) this.troubles[this.bucket(model.endOf("waits", i))] = 1;
    }
    this.drag(canvas);
  }

  bucket(time) {
    return Math.max(0, Math.min(BUCKETS - 1, Math.floor((time / (this.app.model.end || 1)) * BUCKETS)));
  }

  // x of a moment: the run takes all of the width.
  x(time) {
    const [first, last] = this.app.view.full;
    return ((time - first) / (last - first)) * this.width;
  }

  frame() {
    const { canvas, app } = this;
    const ratio = window.devicePixelRatio || 1;
    this.width = Math.max(1, canvas.clientWidth);
    const height = Math.max(1, canvas.clientHeight);
    Object.assign(canvas, { width: Math.round(this.width * ratio), height: Math.round(height * ratio) });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    this.bars(context, height);
    context.fillStyle = app.theme.window;
    const left = this.x(app.view.begin);
    const right = Math.max(this.x(app.view.end), left + 2);
    context.fillRect(left, 0, right - left, height);
    context.strokeStyle = app.theme.accent;
    context.lineWidth = 1.5;
    context.strokeRect(left + 0.75, 0.75, Math.max(right - left - 1.5, 1), height - 2.5);
  }

  bars(context, height) {
    const { theme, model } = this.app;
    const most = Math.log1p(this.counts.reduce((a, b) => Math.max(a, b), 1));
    const wide = this.x(model.end / BUCKETS) - this.x(0) + 0.3;
    for (let b = 0; b < BUCKETS; b++) {
      const x = this.x((b / BUCKETS) * model.end);
      const tall = (Math.log1p(this.counts[b]) / most) * (height - 12);
      context.fillStyle = theme.soft;
      if (tall > 0) context.fillRect(x, height - 3 - tall, wide, tall);
      context.fillStyle = theme.trouble;
      if (this.troubles[b]) context.fillRect(x - 1, 0, 2.5, 6);
    }
  }

  // A press brings the window there, a drag moves it along.
  drag(canvas) {
    const move = (event) => {
      const [first, last] = this.app.view.full;
      const time = first + (event.offsetX / this.width) * (last - first);
      const half = this.app.view.span / 2;
      this.app.view.show(time - half, time + half);
      this.app.moved();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) move(event); });
  }
}

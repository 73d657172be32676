// A shape for each kind of mark: troubles are told from the rest, and from each other, without their colour.

const SHAPES = {
  error: (c, x, y) => { c.moveTo(x - 5, y - 5); c.lineTo(x + 5, y + 5); c.moveTo(x + 5, y - 5); c.lineTo(x - 5, y + 5); },
  drop: (c, x, y) => { c.moveTo(x - 5, y - 4); c.lineTo(x + 5, y - 4); c.lineTo(x, y + 5); c.closePath(); },
  refuse: (c, x, y) => { c.arc(x, y, 5, 0, 7); c.moveTo(x - 5, y); c.lineTo(x + 5, y); },
  blocked: (c, x, y) => { c.rect(x - 4, y - 5, 3, 10); c.rect(x + 1, y - 5, 3, 10); },
  full: (c, x, y) => { c.rect(x - 4, y - 5, 8, 10); c.moveTo(x - 4, y); c.lineTo(x + 4, y); },
  fault: (c, x, y) => { c.moveTo(x + 2, y - 6); c.lineTo(x - 3, y + 1); c.lineTo(x + 3, y - 1); c.lineTo(x - 2, y + 6); },
  restart: (c, x, y) => { c.arc(x, y, 4.5, 0.6, 5.6); c.moveTo(x + 1, y - 6); c.lineTo(x + 5, y - 2); },
  end: (c, x, y) => { c.rect(x - 3, y - 3, 6, 6); },
  start: (c, x, y) => { c.moveTo(x - 3, y - 4); c.lineTo(x + 4, y); c.lineTo(x - 3, y + 4); c.closePath(); },
  dump: (c, x, y) => { c.moveTo(x, y - 5); c.lineTo(x + 5, y); c.lineTo(x, y + 5); c.lineTo(x - 5, y); c.closePath(); },
};

function dot(context, x, y) {
  context.arc(x, y - 6, 1.5, 0, 7);
}

function symbol(context, kind, x, y, theme) {
  const shape = SHAPES[kind] ?? dot;
  const trouble = WEIGHT[kind] === 2;
  context.lineCap = "round";
  for (const [width, colour] of [[4.5, theme.ground], [2, trouble ? theme.trouble : theme.text]]) {
    context.beginPath();
    context.lineWidth = width;
    context.strokeStyle = colour;
    shape(context, x, y);
    context.stroke();
  }
  context.lineCap = "butt";
}

// Pictures for the legend: what each kind looks like.
function legend(canvas, kind, theme) {
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: 34 * ratio, height: 14 * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const bar = (colour, x, y, w, h) => { context.fillStyle = colour; context.fillRect(x, y, w, h); };
  if (kind === "handlers") bar(PALETTE[0], 2, 1, 30, 12);
  if (kind === "jobs") {
    bar(PALETTE[2], 2, 3, 30, 8);
    for (let x = 0; x < 34; x += 5) bar("rgba(20, 23, 27, 0.5)", x, 3, 1.5, 8);
  }
  if (kind === "waits") {
    bar(theme.wait, 2, 3, 14, 2);
    bar(theme.trouble, 18, 3, 14, 2);
    bar(theme["given-up"], 2, 9, 14, 2);
    bar(theme.open, 18, 9, 14, 2);
  }
  if (kind === "states") [theme.idle, theme.running, theme.resting, theme.shutdown].forEach((c, k) => bar(c, 2 + 8 * k, 5, 7, 4));
  if (kind === "marks") ["error", "restart"].forEach((mark, k) => symbol(context, mark, 9 + 16 * k, 7, theme));
  if (kind === "messages") arrow(context, theme.text, [3, 3], [29, 11]);
}

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

// What each picture of the legend shows, and what people read beside it.
const SIGNS = {
  handlers: "a handler at a message, in the colour of its type; a red foot: it failed",
  jobs: "a job of that handler, below it: a frame while it is in the queue, stripes while it is at work",
  "waits answered": "a wait that was answered",
  "waits failed": "a wait that failed, as when its time was up",
  "waits given-up": "a wait that was given up",
  "waits open": "a wait that is still open when the trace ends",
  messages: "a message, from who sent it to who received it",
  "messages answer": "its answer",
  "messages lost": "a message that was lost",
  "states idle": "the actor is idle",
  "states running": "it is in an epoch",
  "states resting": "its epoch is done",
  "states shutdown": "it ends",
  "marks error": "an error in a handler",
  "marks drop": "a dead letter",
  "marks refuse": "something was refused",
  "marks full": "a mailbox was full",
  "marks blocked": "the event loop was blocked",
  "marks restart": "a supervisor starts it again",
  "marks fault": "a fault of a simulation",
  "marks start": "a life begins",
  "marks end": "a life ends",
  "marks dump": "a picture of the living system",
  "marks dot": "another moment",
};

// A canvas of the legend's size, to draw on in CSS pixels.
function signCanvas(canvas) {
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: 34 * ratio, height: 14 * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

// One sign, or all of its kind side by side.
function drawSign(canvas, sign, theme) {
  const context = signCanvas(canvas);
  const [kind, which] = sign.split(" ");
  const bar = (colour, x, y, w, h) => { context.fillStyle = colour; context.fillRect(x, y, w, h); };
  if (kind === "handlers") bar(PALETTE[0], 2, 1, 30, 12);
  if (kind === "jobs") {
    bar(PALETTE[2], 2, 3, 30, 8);
    for (let x = 2; x < 32; x += 5) bar("rgba(20, 23, 27, 0.5)", x, 3, 1.5, 8);
  }
  if (kind === "waits") {
    const colours = { answered: theme.wait, failed: theme.trouble, "given-up": theme["given-up"], open: theme.open };
    const shown = which ? [colours[which]] : Object.values(colours);
    shown.forEach((colour, k) => bar(colour, 2 + (k % 2) * 16, which ? 6 : 3 + 6 * (k >> 1), which ? 30 : 14, 2));
  }
  if (kind === "states") {
    const shown = which ? [which] : ["idle", "running", "resting", "shutdown"];
    shown.forEach((state, k) => bar(theme[state], 2 + 8 * k, 5, which ? 30 : 7, 4));
  }
  if (kind === "marks") (which ? [which] : ["error", "restart"]).forEach((mark, k) => symbol(context, mark, (which ? 17 : 9) + 16 * k, 7, theme));
  if (kind === "messages") {
    arrow(context, which === "lost" ? theme.trouble : theme.text, [3, 3], [28, 11], { dashed: which === "answer", lost: which === "lost" });
  }
}

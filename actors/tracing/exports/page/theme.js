// Colours. Those of types are light, so that dark words can be read upon them, in a light page and in a dark one.

// Paul Tol's "light" scheme, made to be told apart by people who see fewer colours; without its grey.
const PALETTE = ["#77aadd", "#ee8866", "#44bb99", "#eedd88", "#ffaabb", "#99ddff", "#bbcc33", "#aaaa00"];

// A colour as one number, as an ImageData holds it, without its opacity.
function packed(hex) {
  const value = parseInt(hex.slice(1, 7), 16);
  return ((value & 0xff) << 16) | (value & 0xff00) | (value >>> 16);
}

const PALETTE_PACKED = PALETTE.map(packed);

// What the page's style says, read anew when the system goes from light to dark.
class Theme {
  constructor() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ground", "raised", "line", "text", "soft", "accent", "trouble", "stripe", "wait", "given-up",
      "open", "cause", "effect", "idle", "running", "running-odd", "resting", "shutdown", "ink", "grid", "window"];
    for (const name of names) this[name] = style.getPropertyValue(`--${name}`).trim();
    this.packed = new Map();
  }

  // The same colour for an ImageData.
  number(hex) {
    if (!this.packed.has(hex)) this.packed.set(hex, packed(hex));
    return this.packed.get(hex);
  }

  // States change colour with each epoch, so that one epoch is told from the next.
  ofState(name) {
    const epoch = parseInt(name.replace(/^\D*/, ""), 10) || 0;
    if (name.startsWith("running")) return epoch % 2 ? this.running : this["running-odd"];
    if (name.startsWith("epoch_done")) return this.resting;
    if (name.startsWith("shutdown")) return this.shutdown;
    return this.idle;
  }

  ofWait(outcome, open) {
    if (open) return this.open;
    if (outcome === "answered") return this.wait;
    return outcome === "given up" ? this["given-up"] : this.trouble;
  }
}

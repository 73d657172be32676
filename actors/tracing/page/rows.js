// The names of the actors, as elements, so that they can be tabbed to, read out and folded. Only rows in view
// have elements.

class RowNames {
  constructor(app) {
    this.app = app;
    this.box = byId("rows");
    this.inner = byId("rows-inner");
    this.made = new Map();
    this.box.addEventListener("scroll", () => app.scrolled(this.box.scrollTop));
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  frame(drawn) {
    const { layout, selectedRow } = this.app;
    this.inner.style.height = `${layout.height + 40}px`;
    const wanted = new Set(drawn.map(({ row }) => row));
    for (const [row, node] of this.made) {
      if (!wanted.has(row) && !node.contains(document.activeElement)) {
        node.remove();
        this.made.delete(row);
      }
    }
    for (const { row, height } of drawn) {
      if (!this.made.has(row)) this.made.set(row, this.inner.appendChild(this.make(row)));
      const node = this.made.get(row);
      node.style.top = `${layout.tops[layout.place[row]]}px`;
      node.style.height = `${height}px`;
      node.classList.toggle("selected", row === selectedRow);
      node.setAttribute("aria-selected", String(row === selectedRow));
      this.folding(node, row);
    }
    for (const [row, node] of this.made) if (layout.place[row] < 0) { node.remove(); this.made.delete(row); }
  }

  make(row) {
    const { model } = this.app;
    const full = model.names[row];
    const above = model.rows.parent[row];
    const name = above >= 0 && full.startsWith(`${model.names[above]}/`) ? full.slice(model.names[above].length + 1) : full;
    const fold = element("button", { type: "button", className: "fold", tabIndex: -1 });
    const button = element("button", { type: "button", className: "name", title: shown(full) }, shown(name) || "(no name)");
    const node = element("div", { className: "row", role: "treeitem", "aria-level": String(model.depth[row] + 1) }, fold, button,
      element("span", { className: "more" }));
    node.dataset.row = row;
    node.style.paddingLeft = `${Math.min(model.depth[row], 8) * 12 + 2}px`;
    fold.addEventListener("click", () => this.app.toggle(row));
    button.addEventListener("click", () => this.app.select({ kind: "rows", i: row }, { move: false }));
    return node;
  }

  folding(node, row) {
    const { model, layout } = this.app;
    const below = model.children.of(row).length;
    const [fold, , more] = node.children;
    const closed = layout.closed.has(row);
    fold.style.visibility = below ? "visible" : "hidden";
    fold.textContent = closed ? "▸" : "▾";
    fold.setAttribute("aria-label", `${closed ? "open" : "close"} what is below ${shown(model.names[row])}`);
    more.textContent = closed ? `+ ${below}` : "";
    if (below) node.setAttribute("aria-expanded", String(!closed));
  }

  // Arrow keys walk the tree, as in any tree.
  key(event) {
    const node = event.target.closest(".row");
    if (!node) return;
    const row = Number(node.dataset.row);
    const { app } = this;
    const place = app.layout.place[row];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = app.layout.visible[place + (event.key === "ArrowDown" ? 1 : -1)];
      if (next !== undefined) this.focus(next);
    } else if (event.key === "ArrowRight" && app.layout.closed.has(row)) app.toggle(row);
    else if (event.key === "ArrowLeft" && !app.layout.closed.has(row) && app.model.children.of(row).length) app.toggle(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  focus(row) {
    this.app.showRow(row);
    this.app.draw();
    this.made.get(row)?.querySelector(".name").focus();
  }
}

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
      if (!wanted.has(row) && (layout.place[row] < 0 || node !== document.activeElement)) {
        node.remove();
        this.made.delete(row);
      }
    }
    // One of the names can be tabbed to; arrow keys lead to the others.
    const entry = wanted.has(selectedRow) ? selectedRow : drawn[0]?.row;
    for (const { row, height } of drawn) {
      if (!this.made.has(row)) this.made.set(row, this.inner.appendChild(this.make(row)));
      const node = this.made.get(row);
      node.style.top = `${layout.tops[layout.place[row]]}px`;
      node.style.height = `${height}px`;
      node.tabIndex = row === entry ? 0 : -1;
      node.classList.toggle("selected", row === selectedRow);
      node.setAttribute("aria-selected", String(row === selectedRow));
      this.folding(node, row);
    }
  }

  make(row) {
    const { model } = this.app;
    const full = model.names[row];
    const above = model.rows.parent[row];
    const name = above >= 0 && full.startsWith(`${model.names[above]}/`) ? full.slice(model.names[above].length + 1) : full;
    const fold = element("span", { className: "fold", "aria-hidden": "true" });
    const node = element("div", { className: "row", title: shown(full), role: "treeitem", "aria-label": shown(full),
      "aria-level": String(model.depth[row] + 1) },
    fold, element("span", { className: "name" }, shown(name) || "(no name)"), element("span", { className: "more" }));
    node.dataset.row = row;
    node.style.paddingLeft = `${Math.min(model.depth[row], 8) * 12 + 2}px`;
    node.addEventListener("click", (event) => {
      if (event.target === fold) this.app.toggle(row);
      else this.app.select({ kind: "rows", i: row }, { move: false });
    });
    return node;
  }

  folding(node, row) {
    const { model, layout } = this.app;
    const below = model.children.of(row).length;
    const [fold, , more] = node.children;
    const closed = layout.closed.has(row);
    fold.textContent = below ? (closed ? "▸" : "▾") : "";
    more.textContent = closed ? `+ ${below}` : "";
    if (below) node.setAttribute("aria-expanded", String(!closed));
  }

  // Keys walk the tree, as in any tree.
  key(event) {
    const node = event.target.closest(".row");
    if (!node) return;
    const row = Number(node.dataset.row);
    const { app } = this;
    const foldable = app.model.children.of(row).length > 0;
    const closed = app.layout.closed.has(row);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = app.layout.visible[app.layout.place[row] + step];
      if (next !== undefined) this.focus(next);
    } else if (event.key === "Enter" || event.key === " ") app.select({ kind: "rows", i: row }, { move: false });
    else if (foldable && event.key === (closed ? "ArrowRight" : "ArrowLeft")) app.toggle(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  focus(row) {
    this.app.showRow(row);
    this.app.draw();
    this.made.get(row)?.focus();
  }
}

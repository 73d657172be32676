// The panel at the side: the run as a whole, or the story of what is selected.

class Panel {
  constructor(app) {
    this.app = app;
    for (const which of ["run", "story"]) byId(`tab-${which}`).addEventListener("click", () => this.show(which));
    byId("panel").addEventListener("keydown", (event) => {
      if (event.target.role !== "tab" || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = event.target.id === "tab-run" ? "story" : "run";
      this.show(other);
      byId(`tab-${other}`).focus();
      event.preventDefault();
    });
  }

  show(which) {
    for (const name of ["run", "story"]) {
      byId(name).hidden = name !== which;
      byId(`tab-${name}`).setAttribute("aria-selected", String(name === which));
      byId(`tab-${name}`).tabIndex = name === which ? 0 : -1;
    }
  }

  facts(pairs) {
    return element("dl", { className: "facts" }, ...pairs.flatMap(([label, text]) => [
      element("dt", {}, shown(label)), element("dd", {}, shown(text)),
    ]));
  }

  link({ thing, text, note, bad }, act = () => this.app.select(thing)) {
    const button = element("button", { type: "button", className: bad ? "link bad" : "link" },
      element("span", { className: "what" }, shown(text)), " ", element("span", { className: "note" }, shown(note)));
    button.addEventListener("click", () => {
      act();
      byId("story").querySelector("h2")?.focus(); // the button is gone, and keys go on from here
    });
    return element("li", {}, button);
  }

  // The run as a whole. Its numbers come with the page.
  run() {
    const { head } = this.app.model;
    const section = byId("run");
    section.replaceChildren(element("h2", {}, "The run"), this.facts(head.summary));
    for (const warning of head.warnings) section.append(element("p", { className: "damage" }, shown(warning)));
    section.append(element("h3", {}, head.troubles.length ? "Troubles" : "No troubles"));
    const list = element("ul", { className: "links", id: "troubles" });
    for (const trouble of head.troubles) list.append(this.trouble(trouble));
    section.append(list);
    if (head.troubles_more) section.append(this.more(head.troubles_more));
  }

  // Troubles that are alike are one line, which leads to the first, and from there to the next.
  trouble({ what, text, actor, kind, items, count: times }) {
    const things = items.map((i) => ({ kind, i }));
    const [begin] = this.app.model.span(things[0]);
    const alike = times > 1 ? `, and ${count(times - 1)} like it` : "";
    const note = `${text} (${this.app.model.names[actor]}, at ${moment(begin)}${alike})`;
    return this.link({ text: what, note, bad: true }, () => this.app.hits(things));
  }

  more(number) {
    return element("p", { className: "more-note" }, `and ${count(number)} more`);
  }

  story(story) {
    const section = byId("story");
    if (!story) {
      section.replaceChildren(element("p", {}, "Nothing is selected. Click on anything in the timeline, or press the arrow keys there."));
      return;
    }
    section.replaceChildren(
      element("h2", { className: story.bad ? "bad" : "", tabIndex: -1 }, shown(story.title)),
      element("p", { className: "under" }, shown(story.under)),
      this.facts(story.facts),
    );
    for (const { heading, links, chain = false, more = 0, none = "" } of story.lists) {
      section.append(element("h3", {}, heading));
      const list = element(chain ? "ol" : "ul", { className: chain ? "links chain" : "links" });
      for (const link of links) list.append(this.link(link));
      section.append(list);
      if (!links.length) section.append(element("p", { className: "more-note" }, none));
      if (more) section.append(this.more(more));
    }
    section.scrollTop = 0;
  }
}

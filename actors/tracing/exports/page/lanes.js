// What is drawn in each row, sorted so that a frame finds what is in view by searching, never by looking at all.
//
// A row has lanes: its state, its handlers, its jobs, its waits. Spans of a lane may overlap, so they are dealt
// out to tracks, in each of which spans follow each other: begins and ends are both sorted. `busy` holds the
// sum of lengths so far, from which follows how much of any stretch is taken without looking at its spans.

const TRACKS_MAX = { states: 1, handlers: 2, jobs: 12, waits: 12 };

class Track {
  constructor(items, beginOf, endOf) {
    const n = items.length;
    this.items = items;
    this.begin = new Float64Array(n);
    this.end = new Float64Array(n);
    this.busy = new Float64Array(n + 1);
    for (let k = 0; k < n; k++) {
      // In the last track there may be too many at once; it shows the later part of those that overlap.
      this.begin[k] = Math.max(beginOf(items[k]), k ? this.end[k - 1] : -Infinity);
      this.end[k] = Math.max(this.begin[k], endOf(items[k]));
      this.busy[k + 1] = this.busy[k] + this.end[k] - this.begin[k];
    }
  }

  // The span that is there at a time, or the longest within a stretch around it; -1 for none.
  at(time, around) {
    let best = -1;
    const first = lowerBound(this.end, time - around);
    const last = Math.min(upperBound(this.begin, time + around), first + 2000);
    for (let k = first; k < last; k++) {
      if (this.begin[k] <= time && time <= this.end[k] && this.end[k] - this.begin[k] > around) return this.items[k];
      if (best < 0 || this.end[k] - this.begin[k] > this.end[best] - this.begin[best]) best = k;
    }
    return best < 0 ? -1 : this.items[best];
  }
}

// Deal spans, sorted by begin, out to tracks: each goes to the first that is free.
function dealOut(items, beginOf, endOf, most) {
  const free = [];
  const dealt = [];
  for (const item of items) {
    let track = 0;
    while (track < free.length && free[track] > beginOf(item)) track++;
    track = Math.min(track, most - 1);
    (dealt[track] ??= []).push(item);
    free[track] = Math.max(free[track] ?? 0, endOf(item));
  }
  return dealt.map((of) => new Track(Int32Array.from(of), beginOf, endOf));
}

class Lanes {
  constructor(model, filter) {
    const rows = model.rows.count;
    const lane = (kind) => {
      const begin = model[kind].asked ?? model[kind].begin;
      const grouped = groupBy(model[kind].row, rows, filter.predicate(kind));
      return Array.from({ length: rows }, (_, row) =>
        dealOut(grouped.of(row), (i) => begin[i], (i) => model.endOf(kind, i), TRACKS_MAX[kind]));
    };
    this.states = lane("states");
    this.handlers = lane("handlers");
    this.jobs = lane("jobs");
    this.waits = lane("waits");
    // Marks by how much they matter: [small ones, others, troubles], each of all rows.
    const wanted = filter.predicate("marks");
    this.marks = [0, 1, 2].map((weight) => {
      const grouped = groupBy(model.marks.row, rows, (i) =>
        (WEIGHT[model.text(model.marks.kind[i])] ?? 0) === weight && wanted(i));
      return Array.from({ length: rows }, (_, row) => {
        const items = grouped.of(row);
        return { items, time: Float64Array.from(items, (i) => model.marks.time[i]) };
      });
    });
    this.arrows = this.messages(model, filter);
  }

  // Messages in the order in which they were sent, in which they were received, and in which they were answered.
  messages(model, filter) {
    const { count: n, sent, received, replied } = model.messages;
    const wanted = filter.predicate("messages");
    const order = (times) => {
      const items = [];
      let sorted = true;
      for (let i = 0; i < n; i++) {
        if (Number.isNaN(times[i]) || !wanted(i)) continue;
        if (items.length && times[items[items.length - 1]] > times[i]) sorted = false;
        items.push(i);
      }
      const found = Int32Array.from(items);
      if (!sorted) found.sort((a, b) => times[a] - times[b]);
      return { items: found, time: Float64Array.from(found, (i) => times[i]) };
    };
    return { sent: order(sent), received: order(received), replied: order(replied) };
  }
}

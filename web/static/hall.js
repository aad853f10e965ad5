// Where each seat of a hall stands, from what GET /api/events/{event} says. The unit is one seat's
// place: no coordinates are known, so rows are centred and sections stand in lines below the stage.

const AISLE = 1.2;
const SIDE = 1.6; // beside the longest row, for the rows' names
export const HEAD = 2; // above the first row, for the section's name
const APART = 1.2;

// Numbers by size, then letters by the alphabet; AA after Z.
function naturally(a, b) {
  const parts = (id) => id.match(/\d+|\D+/g) || [];
  const [one, other] = [parts(a.id), parts(b.id)];
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const [x, y] = [one[at], other[at]];
    const numbers = [!isNaN(x), !isNaN(y)];
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    const order = numbers[0] ? x - y : x.length - y.length || (x < y ? -1 : x > y ? 1 : 0);
    if (order) return order;
  }
  return one.length - other.length;
}

const numberOf = (seat) => seat.slice(seat.lastIndexOf("-") + 1);

// Distances from the row's beginning. A number that is left out is a gap too: a pillar, a seat that
// is not there.
function placesOf(row, start, aisles) {
  const numbers = row.seats.map((seat) => Number(numberOf(seat)));
  const steps = numbers.slice(1).map((number, at) => Math.abs(number - numbers[at]));
  const step = Math.min(...steps.filter((s) => s > 0));
  let at = 0;
  return row.seats.map((_, index) => {
    if (!index) return 0;
    const missing = steps[index - 1] / step - 1;
    at += 1 + (missing > 0 && missing < 8 ? missing : aisles.has(start + index) ? AISLE : 0);
    return at;
  });
}

export class Hall {
  // `event` as the API has it; `aspect` is width by height of the place to show it in; with `only`
  // just that section. `aisles` are the positions of seats that have one before them.
  constructor(event, aspect, only, aisles = new Set()) {
    this.ids = event.sections.flatMap((section) => section.rows.flatMap((row) => row.seats));
    this.positions = new Map(this.ids.map((id, position) => [id, position]));
    this.x = new Float32Array(this.ids.length).fill(NaN);
    this.y = new Float32Array(this.ids.length).fill(NaN);
    this.rowOf = new Int32Array(this.ids.length).fill(-1);
    this.sections = [];
    this.rows = []; // as the arrow keys go through them
    let start = 0;
    for (const section of event.sections) {
      const size = section.rows.reduce((sum, row) => sum + row.seats.length, 0);
      if (!only || section.id === only) this.sections.push(this.#measured(section, start, size, aisles));
      start += size;
    }
    this.#arrange(aspect);
    for (const section of this.sections) this.#place(section);
  }

  #measured({ id, name, price, kind, rows }, start, size, aisles) {
    const section = { id, name, price, general: kind === "general", start, size };
    // Without numbered seats it is a bar, large enough to be read beside what there is.
    if (section.general) return { ...section, width: Math.sqrt(6 * this.ids.length) / 4 + 14, height: Math.sqrt(this.ids.length) / 12 + 4, rows: [] };
    let position = start;
    section.rows = rows.map((row) => {
      const places = placesOf(row, position, aisles);
      const measured = { id: row.id, start: position, places, length: places.at(-1) + 1 };
      position += row.seats.length;
      return measured;
    });
    section.rows.sort(naturally);
    section.width = Math.max(...section.rows.map((row) => row.length), 8) + 2 * SIDE;
    section.height = section.rows.length + HEAD + 0.5;
    return section;
  }

  // In lines as wide as the place allows. A long run of sections of one price, the ring of a
  // stadium, has lines of its own, of equal length.
  #arrange(aspect) {
    const taken = (section) => section.width + APART;
    const area = this.sections.reduce((sum, s) => sum + taken(s) * (s.height + APART), 0);
    const room = Math.max(...this.sections.map(taken), Math.sqrt(area * aspect));
    this.stage = Math.max(1.7, room / 45);
    const lines = [];
    for (let at = 0, line = []; at < this.sections.length; ) {
      const price = this.sections[at].price;
      const other = this.sections.findIndex((s, index) => index > at && s.price !== price);
      const run = this.sections.slice(at, other < 0 ? undefined : other);
      const width = run.reduce((sum, s) => sum + taken(s), 0);
      const each = width > room ? Math.ceil(run.length / Math.round(width / room)) : Infinity;
      for (const section of run) {
        const full = line.reduce((sum, s) => sum + taken(s), taken(section)) > room * (each < Infinity ? 1.3 : 1);
        const ends = section === run[0] && each < Infinity;
        if (!line.length || full || ends || line.length >= each) lines.push((line = []));
        line.push(section);
      }
      if (each < Infinity) line = [];
      at += run.length;
    }
    const wide = (line) => line.reduce((sum, s) => sum + taken(s), 0) - APART;
    this.width = Math.max(...lines.map(wide)) + 2 * APART;
    this.height = this.stage + 2 * APART;
    for (const line of lines) {
      let x = (this.width - wide(line)) / 2;
      for (const section of line) {
        Object.assign(section, { x, y: this.height });
        x += taken(section);
      }
      this.height += Math.max(...line.map((s) => s.height)) + APART;
    }
  }

  #place(section) {
    if (section.general) {
      this.rows.push({ section, start: section.start, size: 1, y: section.y + section.height / 2 });
      return;
    }
    section.rows.forEach((row, line) => {
      const left = section.x + (section.width - row.length) / 2;
      const y = section.y + HEAD + line + 0.5;
      const placed = { section, id: row.id, start: row.start, size: row.places.length, left, y };
      row.places.forEach((place, index) => {
        const position = row.start + index;
        this.x[position] = left + place + 0.5;
        this.y[position] = y;
        this.rowOf[position] = this.rows.length;
      });
      this.rows.push(placed);
      section.rows[line] = placed;
    });
  }

  sectionOf(position) {
    return this.rows[this.rowOf[position]]?.section;
  }

  number(position) {
    return numberOf(this.ids[position]);
  }

  name(position) {
    const { section, id } = this.rows[this.rowOf[position]];
    return `${section.name}, row ${id}, seat ${this.number(position)}`;
  }

  seatAt(x, y) {
    const section = this.sectionAt(x, y);
    for (const row of section?.rows || []) {
      if (Math.abs(row.y - y) > 0.5) continue;
      const end = row.start + row.size;
      for (let at = row.start; at < end; at++) if (Math.abs(this.x[at] - x) <= 0.5) return at;
    }
    return -1;
  }

  sectionAt(x, y) {
    return this.sections.find(
      (s) => x >= s.x && x < s.x + s.width && y >= s.y && y < s.y + s.height,
    );
  }

  // The seat of a row that is nearest to a place in another.
  nearestInRow(row, x) {
    let best = row.start;
    for (let at = row.start; at < row.start + row.size; at++) {
      if (Math.abs(this.x[at] - x) < Math.abs(this.x[best] - x)) best = at;
    }
    return best;
  }

  // The nearest seats in the sections of lost ones, at their price, one for each; fewer when there
  // are not as many. `isFree` says of a position whether it can be had.
  insteadOf(lost, isFree) {
    const found = new Set();
    for (const position of lost) {
      const section = this.sectionOf(position);
      let best = -1;
      let least = Infinity;
      for (let at = section.start; at < section.start + section.size; at++) {
        if (found.has(at) || !isFree(at)) continue;
        // The next seat is nearer than the next row.
        const across = this.x[at] - this.x[position];
        const along = 1.5 * (this.y[at] - this.y[position]);
        const distance = across * across + along * along;
        if (distance < least) [best, least] = [at, distance];
      }
      if (best >= 0) found.add(best);
    }
    return [...found];
  }
}

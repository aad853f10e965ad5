// Where each seat stands, from what GET /api/events/{event} says. The unit is one seat's place. No
// coordinates are known: rows are centred, sections stand in lines below the stage.

const AISLE = 1.2;
const SIDE = 1.6; // beside the longest row, for the rows' names
export const HEAD = 2; // above the first row, for the section's name
const APART = 1.2;

const sum = (list, size) => list.reduce((total, one) => total + size(one), 0);
const numberOf = (seat) => seat.slice(seat.lastIndexOf("-") + 1);

// 9 before 10, Z before AA.
function naturally({ id: a }, { id: b }) {
	const letters = !/\d/.test(a + b);
	return (letters && a.length - b.length) || a.localeCompare(b, "en", { numeric: true });
}

// Distances from the row's beginning. A number that is left out is a gap too: a pillar.
function placesOf({ seats }, start, aisles) {
	const steps = seats.map((seat, at) => Math.abs(numberOf(seat) - numberOf(seats[at - 1] || "")));
	const step = Math.min(...steps.slice(1));
	let at = 0;
	return seats.map((_, index) => {
		const missing = steps[index] / step - 1;
		const gap = missing > 0 && missing < 8 ? missing : aisles.has(start + index) ? AISLE : 0;
		return index ? (at += 1 + gap) : 0;
	});
}

export class Hall {
	// `event` as the API has it; `aspect` is width by height of the place to show it in; with `only`
	// just that section. `aisles` are the positions of seats that have one before them.
	constructor(event, aspect, only, aisles) {
		this.ids = event.sections.flatMap((section) => section.rows.flatMap((row) => row.seats));
		this.positions = new Map(this.ids.map((id, position) => [id, position]));
		this.x = new Float32Array(this.ids.length);
		this.y = new Float32Array(this.ids.length);
		this.rowOf = new Int32Array(this.ids.length).fill(-1);
		this.sections = [];
		this.rows = []; // as the arrow keys go through them
		let start = 0;
		for (const section of event.sections) {
			const size = sum(section.rows, (row) => row.seats.length);
			if (!only || section.id === only) this.sections.push(this.#measured(section, start, size, aisles));
			start += size;
		}
		this.#arrange(aspect);
		for (const section of this.sections) this.#place(section);
	}

	#measured({ id, name, price, kind, rows }, start, size, aisles) {
		const section = { id, name, price, start, size, general: kind === "general", rows: [] };
		if (section.general) {
			// A bar, large enough to be read beside what there is.
			const side = Math.sqrt(this.ids.length);
			return Object.assign(section, { width: 0.6 * side + 14, height: side / 12 + 4 });
		}
		let position = start;
		for (const row of rows) {
			const places = placesOf(row, position, aisles);
			section.rows.push({ id: row.id, section, start: position, size: places.length, places });
			position += places.length;
		}
		section.rows.sort(naturally);
		section.width = Math.max(...section.rows.map((row) => row.places.at(-1) + 1), 8) + 2 * SIDE;
		section.height = rows.length + HEAD + 0.5;
		return section;
	}

	// In lines as wide as the place allows. A long run of sections of one price, the ring of a
	// stadium, has lines of its own, of equal length.
	#arrange(aspect) {
		const taken = (section) => section.width + APART;
		const area = sum(this.sections, (section) => taken(section) * (section.height + APART));
		const room = Math.max(...this.sections.map(taken), Math.sqrt(area * aspect));
		this.stage = Math.max(1.7, room / 45);
		const lines = [[]];
		let [price, most, width] = [];
		for (const section of this.sections) {
			if (section.price !== price) {
				const run = this.sections.filter((s) => s.price === section.price);
				const times = sum(run, taken) / room;
				const was = most;
				most = times > 1 ? Math.ceil(run.length / Math.round(times)) : 0;
				if (most || was) width = Infinity;
				price = section.price;
			}
			if (!(width + taken(section) <= room * (most ? 1.3 : 1)) || lines.at(-1).length === most) {
				lines.push([]);
				width = 0;
			}
			lines.at(-1).push(section);
			width += taken(section);
		}
		this.width = Math.max(...lines.map((line) => sum(line, taken))) + APART;
		this.height = this.stage + APART;
		for (const line of lines) {
			let x = (this.width - sum(line, taken) + APART) / 2;
			for (const section of line) {
				Object.assign(section, { x, y: this.height });
				x += taken(section);
			}
			this.height += Math.max(0, ...line.map((section) => section.height)) + APART;
		}
	}

	#place(section) {
		const { x, y, width, start } = section;
		if (section.general) this.rows.push({ section, start, size: 1, y: y + section.height / 2 });
		section.rows.forEach((row, line) => {
			row.left = x + (width - row.places.at(-1) - 1) / 2;
			row.y = y + HEAD + line + 0.5;
			row.places.forEach((place, index) => {
				this.x[row.start + index] = row.left + place + 0.5;
				this.y[row.start + index] = row.y;
				this.rowOf[row.start + index] = this.rows.length;
			});
			this.rows.push(row);
		});
	}

	sectionOf(position) {
		return this.rows[this.rowOf[position]].section;
	}

	number(position) {
		return numberOf(this.ids[position]);
	}

	name(position) {
		const { section, id } = this.rows[this.rowOf[position]];
		return `${section.name}, row ${id}, seat ${this.number(position)}`;
	}

	sectionAt(x, y) {
		return this.sections.find((s) => x >= s.x && x < s.x + s.width && y >= s.y && y < s.y + s.height);
	}

	// The seat of a row that is nearest to a place in another.
	nearestInRow(row, x) {
		let best = row.start;
		for (let at = best; at < row.start + row.size; at++) {
			if (Math.abs(this.x[at] - x) < Math.abs(this.x[best] - x)) best = at;
		}
		return best;
	}

	seatAt(x, y) {
		const row = this.sectionAt(x, y)?.rows.find((r) => Math.abs(r.y - y) <= 0.5);
		const seat = row && this.nearestInRow(row, x);
		return row && Math.abs(this.x[seat] - x) <= 0.5 ? seat : -1;
	}

	// The nearest seats in the sections of lost ones, at their price, one for each; fewer when there
	// are not as many. `isFree` says of a position whether it can be had.
	insteadOf(lost, isFree) {
		const found = [];
		for (const position of lost) {
			const { start, size } = this.sectionOf(position);
			// The next seat is nearer than the next row.
			const far = (at) => Math.hypot(this.x[at] - this.x[position], 1.5 * (this.y[at] - this.y[position]));
			let best = -1;
			for (let at = start; at < start + size; at++) {
				if (isFree(at) && !found.includes(at) && (best < 0 || far(at) < far(best))) best = at;
			}
			if (best >= 0) found.push(best);
		}
		return found;
	}
}

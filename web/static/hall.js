// The position of each seat, from the body of GET /api/events/{event}, in units of one seat. The server
// sends no coordinates: rows are centred, sections are in lines below the stage.

const AISLE = 1.2;
const SIDE = 1.6; // space beside the longest row, for the names of the rows
export const HEAD = 2; // space above the first row, for the name of the section
const APART = 1.2;

const sum = (list, size) => list.reduce((total, one) => total + size(one), 0);
const lastOf = (list) => list[list.length - 1];
// Right-to-left names are isolated, as on the server: row and seat keep their order.
const isolated = (name) => (/[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/.test(name) ? `\u2068${name}\u2069` : name);
const numberOf = (seat) => seat.slice(seat.lastIndexOf("-") + 1);

// Rows are sorted as in the list: 9, 10, Z, AA.
const sortable = ({ id }) => id.replace(/\d+|\D+/g, (part) => (/\d/.test(part) ? "" : "A") + part.padStart(20, "0"));
const naturally = (one, other) => (sortable(one) < sortable(other) ? -1 : 1);

// The distance of each seat from the start of its row. A missing seat number leaves a gap: a pillar.
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

// `event` is the API's; `aspect` is width divided by height of the canvas; `only` is the id of the one
// section to lay out, if set. `aisles` are the positions of seats with an aisle before them.
export function layOut(event, aspect, only, aisles) {
	const ids = event.sections.flatMap((section) => section.rows.flatMap((row) => row.seats));
	const positions = new Map(ids.map((id, position) => [id, position]));
	const [x, y] = [new Float32Array(ids.length), new Float32Array(ids.length)];
	const rowOf = new Int32Array(ids.length).fill(-1);
	const rows = [];
	const sections = [];
	let start = 0;
	for (const section of event.sections) {
		const size = sum(section.rows, (row) => row.seats.length);
		if (!only || section.id === only) sections.push(measured(section, start, size));
		start += size;
	}

	function measured({ id, name, price, kind, rows }, start, size) {
		const section = { id, name: isolated(name), price, start, size, rows: [], general: kind === "general" };
		// A bar, whose size grows with the hall so that its text stays readable.
		const side = Math.sqrt(ids.length);
		if (section.general) return Object.assign(section, { width: 0.6 * side + 14, height: side / 12 + 4 });
		let position = start;
		section.rows = rows.map((row) => {
			const places = placesOf(row, position, aisles);
			position += places.length;
			return { id: row.id, section, start: position - places.length, size: places.length, places };
		});
		section.rows.sort(naturally);
		section.height = rows.length + HEAD + 0.5;
		section.width = Math.max(...section.rows.map((row) => lastOf(row.places) + 1), 8) + 2 * SIDE;
		return section;
	}

	// Sections of one price stand together. A long run of them, such as the ring of a stadium, is broken
	// into equal lines.
	const taken = (section) => section.width + APART;
	const area = sum(sections, (section) => taken(section) * (section.height + APART));
	const room = Math.max(...sections.map(taken), Math.sqrt(area * aspect));
	const lines = [];
	for (let at = 0; at < sections.length; ) {
		const next = sections.findIndex((s, other) => other > at && s.price !== sections[at].price);
		const run = sections.slice(at, next < 0 ? undefined : next);
		const most = Math.ceil(run.length / (Math.round(sum(run, taken) / room) || 1));
		at += run.length;
		while (run.length) lines.push(run.splice(0, most));
	}
	const stage = Math.max(1.7, room / 45);
	const width = Math.max(...lines.map((line) => sum(line, taken))) + APART;
	let height = stage + APART;
	for (const line of lines) {
		let from = (width - sum(line, taken) + APART) / 2;
		for (const section of line) {
			place(section, from, height);
			from += taken(section);
		}
		height += Math.max(...line.map((section) => section.height)) + APART;
	}

	function place(section, left, top) {
		Object.assign(section, { x: left, y: top });
		if (section.general) rows.push({ section, start: section.start, size: 1, y: top + section.height / 2 });
		section.rows.forEach((row, line) => {
			row.left = left + (section.width - lastOf(row.places) - 1) / 2;
			row.y = top + HEAD + line + 0.5;
			row.places.forEach((place, index) => {
				x[row.start + index] = row.left + place + 0.5;
				y[row.start + index] = row.y;
				rowOf[row.start + index] = rows.length;
			});
			rows.push(row);
		});
	}

	const number = (position) => numberOf(ids[position]);
	const sectionOf = (position) => rows[rowOf[position]].section;
	const sectionAt = (atX, atY) =>
		sections.find((s) => atX >= s.x && atX < s.x + s.width && atY >= s.y && atY < s.y + s.height);

	function name(position) {
		const { section, id } = rows[rowOf[position]];
		return `${section.name}, row ${id}, seat ${number(position)}`;
	}

	// The position for which `far` is smallest; -1 when it is Infinity for all.
	function nearest({ start, size }, far) {
		let [best, least] = [-1, Infinity];
		for (let at = start; at < start + size; at++) {
			const distance = far(at);
			if (distance < least) [best, least] = [at, distance];
		}
		return best;
	}

	const nearestInRow = (row, atX) => nearest(row, (at) => Math.abs(x[at] - atX));

	function seatAt(section, atX, atY) {
		const row = section.rows.find((r) => Math.abs(r.y - atY) <= 0.5);
		return row ? nearest(row, (at) => (Math.abs(x[at] - atX) <= 0.5 ? 0 : Infinity)) : -1;
	}

	// For each lost seat the nearest free one in the same section, at the same price, if there is one.
	function insteadOf(lost, isFree) {
		const found = [];
		for (const gone of lost) {
			// The next seat is nearer than the next row.
			const far = (at) =>
				isFree(at) && !found.includes(at) ? Math.hypot(x[at] - x[gone], 1.5 * (y[at] - y[gone])) : Infinity;
			const seat = nearest(sectionOf(gone), far);
			if (seat >= 0) found.push(seat);
		}
		return found;
	}

	return { ids, positions, x, y, rowOf, rows, sections, stage, width, height, number, name, sectionOf, sectionAt, nearestInRow, seatAt, insteadOf };
}

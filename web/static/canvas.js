// The picture of a hall: draws it, moves it, and says which seat was touched.
//
// From afar it is a bitmap that is made once, where only a changed seat is painted again; near by
// the seats in view are drawn. Both show a state by shape too, not by colour alone.

import { HEAD } from "./hall.js";

const NEAR_PX = 10; // a seat's place, from which on seats are drawn
const TARGET_PX = 24; // the smallest thing that may have to be hit (WCAG 2.2, 2.5.8)
const NUMBERS_PX = 21;
const LARGEST_PX = 56;
const FITTING_PX = 40; // a small hall is not blown up
const BITMAP_PIXELS = 3e6; // bounds its memory to 12 MB
const DRAG_PX = 7; // a finger trembles
const MANY = 3000; // changes at once from which on all is drawn anew

const COLOURS = ["surface", "ink", "quiet", "edge", "accent", "on-accent", "sold", "on-sold"];

export const FREE = 48; // "0"; the codes of the characters of a seat map
export const SOLD = 115; // "s"

export class Picture {
	// `states` has a code a seat; `chosen` is a Set of positions; `freeIn` says how many seats of a
	// section are free. `touched` gets {position} or {section}. `moved` hears that the view changed.
	constructor(canvas, hall, { states, chosen, freeIn, touched, moved }) {
		Object.assign(this, { canvas, hall, states, chosen, freeIn, touched, moved });
		this.context = canvas.getContext("2d");
		this.scale = this.left = this.top = 0;
		this.pointers = new Map();
		for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
			matchMedia(query).onchange = () => this.repaint();
		}
		new ResizeObserver(() => this.#resize()).observe(canvas);
		canvas.onpointerdown = (event) => this.#down(event);
		canvas.onpointermove = (event) => this.#move(event);
		canvas.onpointerup = (event) => this.#up(event);
		canvas.onpointercancel = (event) => this.pointers.delete(event.pointerId);
		canvas.onwheel = (event) => this.#wheel(event);
	}

	// --- the view

	#resize() {
		const { clientWidth: width, clientHeight: height } = this.canvas;
		if (!width || !height) return;
		const whole = this.isWhole;
		this.ratio = Math.min(window.devicePixelRatio || 1, 2);
		Object.assign(this, { width, height });
		this.canvas.width = Math.round(width * this.ratio);
		this.canvas.height = Math.round(height * this.ratio);
		this.smallest = Math.min(FITTING_PX, width / this.hall.width, height / this.hall.height);
		if (whole) this.showAll();
		else this.zoom(1);
		this.bitmap ||= this.#made();
		// Now, not with the next frame: to resize a canvas empties it.
		this.#draw();
	}

	get isWhole() {
		return !this.scale || this.scale <= this.smallest * 1.001;
	}

	showAll() {
		this.scale = this.smallest;
		this.#clamp();
	}

	// By a factor, so that the point (x, y) of the canvas stays where it is.
	zoom(factor, x = this.width / 2, y = this.height / 2) {
		const scale = Math.min(Math.max(this.scale * factor, this.smallest), Math.max(LARGEST_PX, this.smallest));
		this.left = x - ((x - this.left) * scale) / this.scale;
		this.top = y - ((y - this.top) * scale) / this.scale;
		this.scale = scale;
		this.#clamp();
	}

	// Bring a place of the hall into view, at a size at which it can be touched.
	reveal(x, y) {
		const near = this.scale >= TARGET_PX;
		if (!near) this.scale = Math.max(this.smallest, TARGET_PX + 6);
		const [left, top] = this.toCanvas(x, y);
		const edge = 2 * this.scale;
		const inside = left > edge && left < this.width - edge && top > edge && top < this.height - edge;
		if (near && inside) return;
		this.left = this.width / 2 - x * this.scale;
		this.top = this.height / 2 - y * this.scale;
		this.#clamp();
	}

	toCanvas(x, y) {
		return [this.left + x * this.scale, this.top + y * this.scale];
	}

	#clamp() {
		const within = (offset, size, room) =>
			size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset));
		this.left = within(this.left, this.hall.width * this.scale, this.width);
		this.top = within(this.top, this.hall.height * this.scale, this.height);
		// A finger moves the page while there is nothing to move here.
		this.canvas.style.touchAction = this.isWhole ? "pan-x pan-y" : "none";
		this.draw();
		this.moved?.();
	}

	// --- pointers

	#at(event) {
		const box = this.canvas.getBoundingClientRect();
		return { x: event.clientX - box.left, y: event.clientY - box.top };
	}

	#down(event) {
		if (event.button) return;
		this.canvas.setPointerCapture(event.pointerId);
		this.pointers.set(event.pointerId, this.#at(event));
		this.dragged = this.pointers.size > 1 ? Infinity : 0;
	}

	#move(event) {
		const before = this.pointers.get(event.pointerId);
		if (!before) return;
		const now = this.#at(event);
		const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
		this.dragged += Math.hypot(now.x - before.x, now.y - before.y);
		if (this.dragged < DRAG_PX) return;
		this.pointers.set(event.pointerId, now);
		if (other) {
			const spread = (a) => Math.hypot(a.x - other.x, a.y - other.y) || 1;
			this.left += (now.x - before.x) / 2;
			this.top += (now.y - before.y) / 2;
			this.zoom(spread(now) / spread(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
		} else if (!this.isWhole) {
			this.left += now.x - before.x;
			this.top += now.y - before.y;
			this.#clamp();
		}
	}

	#up(event) {
		if (!this.pointers.delete(event.pointerId) || this.dragged >= DRAG_PX) return;
		const { x, y } = this.#at(event);
		const [hallX, hallY] = [(x - this.left) / this.scale, (y - this.top) / this.scale];
		const section = this.hall.sectionAt(hallX, hallY);
		if (section?.general) return this.touched({ section });
		if (this.scale < TARGET_PX) return section && this.reveal(hallX, hallY);
		const position = this.hall.seatAt(hallX, hallY);
		if (position >= 0) this.touched({ position });
	}

	#wheel(event) {
		// The page is scrolled past the map, until the map was chosen by a click or a key.
		if (!event.ctrlKey && !event.metaKey && !this.canvas.parentElement.contains(document.activeElement)) return;
		event.preventDefault();
		const lines = event.deltaMode ? 20 : 1;
		const { x, y } = this.#at(event);
		this.zoom(Math.exp(-Math.min(Math.max(event.deltaY * lines, -100), 100) / 250), x, y);
	}

	// --- drawing

	// Everything, in other colours.
	repaint() {
		this.bitmap = this.#made();
		this.draw();
	}

	draw() {
		this.frame ||= requestAnimationFrame(() => this.#draw());
	}

	// These seats are no longer what they were.
	changed(positions) {
		if (!this.bitmap) return;
		if (positions.length > MANY) return this.repaint();
		const seen = positions.filter((position) => this.hall.rowOf[position] >= 0);
		for (const position of seen) this.#dot(position);
		if (this.frame || !positions.length) return;
		const begin = performance.now();
		this.#toHall();
		for (const section of this.hall.sections) if (section.general) this.#bar(section);
		const sections = new Set();
		for (const position of seen) {
			sections.add(this.hall.sectionOf(position));
			this.#again(position);
		}
		if (this.scale < NEAR_PX) for (const section of sections) this.#label(section);
		this.#tell(seen.length, begin, false);
	}

	#tell(seats, begin, whole) {
		const detail = { seats, whole, ms: performance.now() - begin };
		this.canvas.dispatchEvent(new CustomEvent("painted", { detail, bubbles: true }));
	}

	#draw() {
		cancelAnimationFrame(this.frame);
		this.frame = 0;
		if (!this.width) return;
		const begin = performance.now();
		const { context: c, hall, colours } = this;
		c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
		c.fillStyle = colours.surface;
		c.fillRect(0, 0, this.width, this.height);
		this.#toHall();
		this.#stage();
		const [left, top] = [-this.left / this.scale, -this.top / this.scale];
		const [right, bottom] = [left + this.width / this.scale, top + this.height / this.scale];
		const seen = hall.sections.filter(
			(s) => s.x < right && s.x + s.width > left && s.y < bottom && s.y + s.height > top,
		);
		const positions = [];
		if (this.scale < NEAR_PX) {
			c.drawImage(this.bitmap, 0, 0, this.bitmap.width / this.cell, this.bitmap.height / this.cell);
		} else {
			for (const section of seen) {
				for (const row of section.rows) {
					if (row.y < top - 1 || row.y > bottom + 1) continue;
					this.#rowName(row);
					for (let at = row.start; at < row.start + row.size; at++) {
						if (hall.x[at] > left - 1 && hall.x[at] < right + 1) positions.push(at);
					}
				}
			}
			this.#seats(positions);
		}
		for (const section of seen) section.general ? this.#bar(section) : this.#label(section);
		this.#tell(positions.length, begin, true);
	}

	#toHall() {
		const scale = this.scale * this.ratio;
		this.context.setTransform(scale, 0, 0, scale, this.left * this.ratio, this.top * this.ratio);
		this.context.textAlign = "center";
		this.context.textBaseline = "middle";
	}

	#font(px, weight = 400) {
		this.context.font = `${weight} ${px / this.scale}px ${this.family}`;
	}

	#stage() {
		const { context: c, hall, colours } = this;
		const width = hall.stage * 16;
		c.fillStyle = colours.sold;
		c.beginPath();
		c.roundRect((hall.width - width) / 2, 0.4, width, hall.stage, hall.stage / 3);
		c.fill();
		c.fillStyle = colours.quiet;
		this.#font(Math.min(15, hall.stage * this.scale * 0.7));
		c.fillText("Stage", hall.width / 2, 0.4 + hall.stage / 2);
	}

	// Above the seats; where they are too small for that upon them, in several lines.
	#label(section) {
		const { context: c, colours } = this;
		const above = HEAD * this.scale >= 14;
		const px = above ? Math.min(17, Math.max(12, this.scale * 0.7)) : 11;
		const x = section.x + section.width / 2;
		this.#font(px, 600);
		c.fillStyle = colours.ink;
		if (above) return c.fillText(section.name, x, section.y + HEAD / 2, section.width);
		const lines = [];
		for (const word of section.name.split(" ")) {
			const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
			if (lines.length && c.measureText(longer).width <= section.width * 0.85) lines[lines.length - 1] = longer;
			else lines.push(word);
		}
		const step = (px + 4) / this.scale;
		let y = section.y + (section.height + HEAD - (lines.length - 1) * step) / 2;
		for (const line of lines.slice(0, 3)) {
			const width = c.measureText(line).width + 8 / this.scale;
			c.fillStyle = colours.surface;
			c.fillRect(x - width / 2, y - step / 2, width, step);
			c.fillStyle = colours.ink;
			c.fillText(line, x, y);
			y += step;
		}
	}

	#rowName(row) {
		this.context.fillStyle = this.colours.quiet;
		this.#font(Math.min(13, this.scale * 0.5));
		this.context.fillText(row.id, row.left - 0.7, row.y);
	}

	#bar(section) {
		const { context: c, colours } = this;
		const { x, y, width, height } = section;
		const free = this.freeIn(section);
		c.fillStyle = colours.surface;
		c.fillRect(x, y, width, height);
		c.lineWidth = 1.5 / this.scale;
		c.strokeStyle = colours.edge;
		c.strokeRect(x + 0.2, y + 0.2, width - 0.4, height - 0.4);
		c.fillStyle = colours.sold;
		const bar = [x + 1, y + height * 0.7, width - 2, height * 0.18];
		c.fillRect(...bar);
		c.fillStyle = colours.accent;
		bar[2] *= free / section.size;
		c.fillRect(...bar);
		c.fillStyle = colours.ink;
		const px = Math.min(18, height * this.scale * 0.25);
		this.#font(px, 600);
		c.fillText(section.name, x + width / 2, y + height * 0.22, width - 1);
		this.#font(px * 0.85);
		c.fillText(`${free} of ${section.size} left`, x + width / 2, y + height * 0.5, width - 1);
	}

	// Seats as one sees them near by: an outline is free, filled with a tick is chosen, dashes are on
	// hold, pale and crossed out is sold.
	#seats(positions) {
		const { context: c, hall, colours } = this;
		const [free, mine, held, sold] = [[], [], [], []];
		for (const at of positions) {
			const state = this.states[at];
			(this.chosen.has(at) ? mine : state === FREE ? free : state === SOLD ? sold : held).push(at);
		}
		const shape = (group, inset) => {
			c.beginPath();
			const size = 1 - 2 * inset;
			for (const at of group) {
				c.roundRect(hall.x[at] - 0.5 + inset, hall.y[at] - 0.5 + inset, size, size, [0.24, 0.24, 0.14, 0.14]);
			}
		};
		const line = (group, ...points) => {
			c.beginPath();
			for (const at of group) for (const [x, y, begins] of points) c[begins ? "moveTo" : "lineTo"](hall.x[at] + x, hall.y[at] + y);
			c.stroke();
		};
		const numbers = (group, colour) => {
			c.fillStyle = colour;
			for (const at of group) c.fillText(hall.number(at), hall.x[at], hall.y[at] + 0.02);
		};
		c.lineWidth = Math.max(1.2 / this.scale, 0.05);
		shape(free, 0.1);
		c.strokeStyle = colours.accent;
		c.stroke();
		shape(mine, 0.06);
		c.fillStyle = colours.accent;
		c.fill();
		c.setLineDash([0.16, 0.12]);
		shape(held, 0.12);
		c.strokeStyle = colours.edge;
		c.stroke();
		c.setLineDash([]);
		shape(sold, 0.12);
		c.fillStyle = colours.sold;
		c.fill();
		c.strokeStyle = colours["on-sold"];
		line(sold, [-0.22, -0.22, 1], [0.22, 0.22], [0.22, -0.22, 1], [-0.22, 0.22]);
		c.lineWidth *= 2;
		c.strokeStyle = colours["on-accent"];
		line(mine, [-0.2, 0.02, 1], [-0.04, 0.2], [0.22, -0.18]);
		if (this.scale < NUMBERS_PX) return;
		this.#font(Math.min(14, this.scale * 0.42), 600);
		numbers(free, colours.accent);
		numbers(held, colours.quiet);
	}

	// --- from afar

	#made() {
		const style = getComputedStyle(this.canvas);
		this.family = style.fontFamily;
		this.colours = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
		const { width, height, x } = this.hall;
		this.cell = Math.max(1, Math.min(8, Math.floor(Math.sqrt(BITMAP_PIXELS / (width * height)))));
		const bitmap = new OffscreenCanvas(Math.ceil(width * this.cell), Math.ceil(height * this.cell));
		this.bitmap = bitmap;
		this.dots = bitmap.getContext("2d");
		for (let position = 0; position < x.length; position++) {
			if (this.hall.rowOf[position] >= 0) this.#dot(position);
		}
		return bitmap;
	}

	// Free is a full square, chosen a larger one with a hole, on hold half of one, sold a speck.
	#dot(position) {
		const { dots, cell, colours } = this;
		const [x, y] = [this.hall.x[position] - 0.5, this.hall.y[position] - 0.5].map((v) => Math.round(v * cell));
		dots.clearRect(x, y, cell, cell);
		const state = this.states[position];
		const fill = (colour, left, top, width, height) => {
			dots.fillStyle = colours[colour];
			dots.fillRect(x + left * cell, y + top * cell, width * cell, height * cell);
		};
		if (this.chosen.has(position)) {
			fill("ink", 0, 0, 1, 1);
			fill("surface", 0.35, 0.35, 0.3, 0.3);
		} else if (state === FREE) fill("accent", 0.15, 0.15, 0.7, 0.7);
		else if (state === SOLD) fill("edge", 0.38, 0.38, 0.24, 0.24);
		else fill("edge", 0.15, 0.5, 0.7, 0.35);
	}

	// One seat, and nothing beside it.
	#again(position) {
		const { context: c, hall, cell } = this;
		const near = this.scale >= NEAR_PX;
		const from = [hall.x[position], hall.y[position]].map((v) => Math.round((v - 0.5) * cell));
		const at = near ? [hall.x[position] - 0.5, hall.y[position] - 0.5, 1, 1] : [from[0] / cell, from[1] / cell, 1, 1];
		c.fillStyle = this.colours.surface;
		c.fillRect(...at);
		if (near) this.#seats([position]);
		else c.drawImage(this.bitmap, ...from, cell, cell, ...at);
	}
}

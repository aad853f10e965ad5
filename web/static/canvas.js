// The picture of a hall: draws it, zooms and pans it, and reports which seat was pressed.
//
// Zoomed out it is a bitmap, in which only changed seats are painted again; zoomed in, the visible
// seats are drawn. Both show a state by its shape too, not by colour alone.

import { HEAD } from "./hall.js";

const NEAR_PX = 10; // from this size of a seat on, seats are drawn one by one
const TARGET_PX = 24; // the smallest target for a pointer (WCAG 2.2, 2.5.8)
const NUMBERS_PX = 21;
const LARGEST_PX = 56;
const FITTING_PX = 40; // a small hall is not enlarged beyond this size of a seat
const BITMAP_PIXELS = 3e6; // bounds its memory to 12 MB
const DRAG_PX = 7; // shorter movements are a press: fingers tremble
const MANY = 3000; // with as many changes at once, everything is redrawn

const COLOURS = ["surface", "ink", "quiet", "edge", "accent", "on-accent", "sold", "on-sold"];

// A seat when zoomed in: inset in units of a seat, outlined or filled, its colour, that of its text,
// and the text if not its number.
const NEAR = {
	available: [0.1, "stroke", "accent", "accent"],
	chosen: [0.06, "fill", "accent", "on-accent", "✓"],
	"on hold": [0.12, "stroke", "edge", "quiet"],
	sold: [0.12, "fill", "sold", "on-sold", "×"],
};

// A seat when zoomed out: its colour, and the x, y, width and height of its rectangle in units of a seat.
const FAR = {
	available: ["accent", 0.15, 0.15, 0.7, 0.7],
	chosen: ["ink", 0, 0, 1, 1],
	"on hold": ["edge", 0.15, 0.5, 0.7, 0.35],
	sold: ["edge", 0.38, 0.38, 0.24, 0.24],
};

const between = (least, value, most) => Math.min(Math.max(value, least), most);

// `kindOf(position)` is a key of NEAR, `freeIn(section)` the number of its free seats.
// `touched(section, position)` is called when a seat is pressed; position is -1 in general admission.
// `moved()` is called when the view changed.
export function showHall(canvas, hall, { kindOf, freeIn, touched, moved }) {
	const context = canvas.getContext("2d");
	if (!context) throw new Error("this browser draws nothing");
	const pointers = new Map();
	let [scale, left, top] = [0, 0, 0]; // the view: px of a seat, and px of the hall's top left corner
	let width, height, ratio, smallest;
	let colours, family, bitmap, dots, cell, frame, dragged;

	function resize() {
		if (!canvas.clientWidth || !canvas.clientHeight) return;
		const whole = isWhole();
		({ clientWidth: width, clientHeight: height } = canvas);
		ratio = Math.min(window.devicePixelRatio || 1, 2);
		canvas.width = Math.round(width * ratio);
		canvas.height = Math.round(height * ratio);
		smallest = Math.min(FITTING_PX, width / hall.width, height / hall.height);
		if (whole) scale = smallest;
		zoom(1);
		if (!bitmap) repaint();
		// At once, not with the next frame: resizing a canvas clears it.
		draw();
	}

	const isWhole = () => !scale || scale <= smallest * 1.001;

	// Zooms by a factor, keeping the point (x, y) of the canvas where it is.
	function zoom(factor, x = width / 2, y = height / 2) {
		const before = scale;
		scale = between(smallest, scale * factor, Math.max(LARGEST_PX, smallest));
		left = x - ((x - left) * scale) / before;
		top = y - ((y - top) * scale) / before;
		clamp();
	}

	// Brings a point of the hall into view, large enough that its seat can be pressed.
	function reveal(x, y) {
		const [atX, atY] = toCanvas(x, y);
		const inside = (at, room) => at > 2 * scale && at < room - 2 * scale;
		if (scale >= TARGET_PX && inside(atX, width) && inside(atY, height)) return;
		scale = Math.max(scale, smallest, TARGET_PX + 6);
		left = width / 2 - x * scale;
		top = height / 2 - y * scale;
		clamp();
	}

	// Undefined until the size of the canvas is known.
	const toCanvas = (x, y) => width && [left + x * scale, top + y * scale, scale];

	function clamp() {
		const within = (offset, size, room) => (size <= room ? (room - size) / 2 : between(room - size, offset, 0));
		left = within(left, hall.width * scale, width);
		top = within(top, hall.height * scale, height);
		// While the whole hall is visible, a finger scrolls the page.
		canvas.style.touchAction = isWhole() ? "pan-x pan-y" : "none";
		drawSoon();
		moved();
	}

	canvas.onpointerdown = ({ button, pointerId, offsetX: x, offsetY: y }) => {
		if (button) return;
		canvas.setPointerCapture(pointerId);
		pointers.set(pointerId, { x, y });
		dragged = pointers.size > 1 ? Infinity : 0;
	};

	canvas.onpointermove = ({ pointerId, offsetX: x, offsetY: y }) => {
		const before = pointers.get(pointerId);
		if (!before) return;
		dragged += Math.hypot(x - before.x, y - before.y);
		if (dragged < DRAG_PX) return;
		pointers.set(pointerId, { x, y });
		const other = [...pointers].find(([id]) => id !== pointerId)?.[1];
		const far = (from) => Math.hypot(from.x - other.x, from.y - other.y) || 1;
		// Two fingers zoom; the picture stays in place under the one that does not move.
		if (other) return zoom(far({ x, y }) / far(before), other.x, other.y);
		left += x - before.x;
		top += y - before.y;
		clamp();
	};

	canvas.onpointerup = ({ pointerId, offsetX, offsetY }) => {
		if (!pointers.delete(pointerId) || dragged >= DRAG_PX) return;
		const [x, y] = [(offsetX - left) / scale, (offsetY - top) / scale];
		const section = hall.sectionAt(x, y);
		if (!section?.general && scale < TARGET_PX) return section && reveal(x, y);
		const position = section ? hall.seatAt(section, x, y) : -1;
		if (section?.general || position >= 0) touched(section, position);
	};

	canvas.onpointercancel = ({ pointerId }) => pointers.delete(pointerId);

	canvas.onwheel = (event) => {
		// The wheel scrolls the page, unless the map has the focus or Ctrl or ⌘ is pressed.
		if (!event.ctrlKey && !event.metaKey && !canvas.parentElement.contains(document.activeElement)) return;
		event.preventDefault();
		const turned = between(-100, event.deltaY * (event.deltaMode ? 20 : 1), 100);
		zoom(Math.exp(-turned / 250), event.offsetX, event.offsetY);
	};

	function changed(positions) {
		if (!bitmap || !positions.length) return;
		if (positions.length > MANY) return repaint();
		const begin = performance.now();
		const seen = positions.filter((position) => hall.rowOf[position] >= 0);
		seen.forEach(dot);
		if (frame) return;
		toHall();
		seen.forEach(again);
		const named = new Set(scale < NEAR_PX ? seen.map(hall.sectionOf) : []);
		hall.sections.filter((section) => section.general || named.has(section)).forEach(name);
		tell(seen.length, begin, false);
	}

	function tell(seats, begin, whole) {
		const detail = { seats, whole, ms: performance.now() - begin };
		canvas.dispatchEvent(new CustomEvent("painted", { detail, bubbles: true }));
	}

	function drawSoon() {
		frame ||= requestAnimationFrame(draw);
	}

	function draw() {
		cancelAnimationFrame(frame);
		frame = 0;
		if (!width) return;
		const begin = performance.now();
		toHall();
		box("surface", -left / scale, -top / scale, width / scale, height / scale);
		box("sold", hall.width / 2 - hall.stage * 8, 0.4, hall.stage * 16, hall.stage);
		write(Math.min(15, hall.stage * scale * 0.7), "quiet", ["Stage", hall.width / 2, 0.4 + hall.stage / 2]);
		const positions = [];
		if (scale < NEAR_PX) context.drawImage(bitmap, 0, 0, bitmap.width / cell, bitmap.height / cell);
		else {
			for (const row of hall.rows) {
				const y = top + row.y * scale;
				if (row.section.general || y < -scale || y > height + scale) continue;
				write(Math.min(13, scale * 0.5), "quiet", [row.id, row.left - 0.7, row.y]);
				for (let at = row.start; at < row.start + row.size; at++) positions.push(at);
			}
			seats(positions);
		}
		hall.sections.forEach(name);
		tell(positions.length, begin, true);
	}

	function toHall() {
		context.setTransform(scale * ratio, 0, 0, scale * ratio, left * ratio, top * ratio);
		context.textAlign = "center";
		context.textBaseline = "middle";
	}

	function font(px) {
		context.font = `600 ${px}px ${family}`;
	}

	// `texts` are [text, x, y, room?] in units of the hall, but drawn in pixels: WebKitGTK rounds the
	// width of a letter, which is less than one unit, before it scales.
	function write(px, colour, ...texts) {
		context.setTransform(ratio, 0, 0, ratio, 0, 0);
		font(px);
		context.fillStyle = colours[colour];
		for (const [text, x, y, room] of texts) {
			// Isolated: its direction is that of its own first letter, as with <bdi>.
			context.fillText(`\u2068${room ? fitting(text, room * scale) : text}\u2069`, left + x * scale, top + y * scale);
		}
		toHall();
	}

	// Shortened, not squeezed as fillText's maxWidth does: that cannot be read.
	function fitting(text, room) {
		const widthOf = (part) => context.measureText(part).width;
		const wide = widthOf(text);
		if (wide <= room) return text;
		const letters = [...text].slice(0, (1.2 * text.length * room) / wide);
		while (letters.length && widthOf(`${letters.join("")}…`) > room) letters.pop();
		return `${letters.join("").trim()}…`;
	}

	function box(colour, ...place) {
		context.fillStyle = colours[colour];
		context.fillRect(...place);
	}

	// The name is above the seats or, when zoomed out far, across them in several lines.
	function name(section) {
		const x = section.x + section.width / 2;
		if (section.general) return bar(section, x);
		if (HEAD * scale >= 14) {
			return write(between(12, scale * 0.7, 17), "ink", [section.name, x, section.y + HEAD / 2, section.width]);
		}
		font(11);
		const widthOf = (text) => context.measureText(text).width / scale;
		const lines = [];
		for (const word of section.name.split(" ")) {
			const longer = `${lines[lines.length - 1]} ${word}`;
			if (lines.length && widthOf(longer) <= section.width * 0.85) lines[lines.length - 1] = longer;
			else lines.push(word);
		}
		const step = 14 / scale;
		const most = Math.max(1, Math.floor(section.height / step));
		if (lines.length > most) lines.push(lines.splice(most - 1).join(" "));
		let y = section.y + (section.height + HEAD - (lines.length - 1) * step) / 2;
		for (const line of lines.map((text) => fitting(text, section.width * scale))) {
			const wide = widthOf(line) + 8 / scale;
			box("surface", x - wide / 2, y - step / 2, wide, step);
			write(11, "ink", [line, x, y]);
			y += step;
		}
	}

	function bar(section, middle) {
		const { x, y, width, height, size } = section;
		const free = freeIn(section);
		const px = Math.min(18, height * scale * 0.25);
		box("sold", x, y, width, height);
		box("accent", x, y + height * 0.85, (width * free) / size, height * 0.15);
		write(px, "ink", [section.name, middle, y + height * 0.25, width]);
		write(px * 0.85, "ink", [`${free} of ${size} left`, middle, y + height * 0.6, width]);
	}

	function seats(positions) {
		context.lineWidth = Math.max(1.2 / scale, 0.05);
		for (const [kind, [inset, how, colour, ink, sign]] of Object.entries(NEAR)) {
			const size = 1 - 2 * inset;
			const group = positions.filter((at) => kindOf(at) === kind);
			context.beginPath();
			for (const at of group) square(hall.x[at] - size / 2, hall.y[at] - size / 2, size);
			context.setLineDash(kind === "on hold" ? [0.16, 0.12] : []);
			context[`${how}Style`] = colours[colour];
			context[how]();
			if (!sign && scale < NUMBERS_PX) continue;
			const numbers = group.map((at) => [sign || hall.number(at), hall.x[at], hall.y[at] + 0.02]);
			write(sign ? scale * 0.6 : Math.min(14, scale * 0.42), ink, ...numbers);
		}
	}

	function square(x, y, size) {
		// eslint-disable-next-line newer/members -- only where it exists; round corners are a nicety
		if (context.roundRect) context.roundRect(x, y, size, size, 0.2);
		else context.rect(x, y, size, size);
	}

	function repaint() {
		const style = getComputedStyle(canvas);
		family = style.fontFamily;
		colours = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
		cell = between(1, Math.floor(Math.sqrt(BITMAP_PIXELS / (hall.width * hall.height))), 8);
		bitmap = document.createElement("canvas");
		bitmap.width = Math.ceil(hall.width * cell);
		bitmap.height = Math.ceil(hall.height * cell);
		dots = bitmap.getContext("2d");
		hall.rowOf.forEach((row, position) => row >= 0 && dot(position));
		drawSoon();
	}

	const corner = (position) => [hall.x, hall.y].map((of) => Math.round((of[position] - 0.5) * cell));

	function dot(position) {
		const [x, y] = corner(position);
		dots.clearRect(x, y, cell, cell);
		const [colour, fromX, fromY, wide, tall] = FAR[kindOf(position)];
		dots.fillStyle = colours[colour];
		dots.fillRect(x + fromX * cell, y + fromY * cell, wide * cell, tall * cell);
	}

	// Redraws one seat and nothing around it.
	function again(position) {
		if (scale >= NEAR_PX) {
			box("surface", hall.x[position] - 0.5, hall.y[position] - 0.5, 1, 1);
			return seats([position]);
		}
		const [x, y] = corner(position);
		box("surface", x / cell, y / cell, 1, 1);
		context.drawImage(bitmap, x, y, cell, cell, x / cell, y / cell, 1, 1);
	}

	for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(query).onchange = repaint;
	// At once: the caller must get the exception if the hall cannot be drawn.
	resize();
	new ResizeObserver(resize).observe(canvas);
	return { changed, zoom, reveal, toCanvas };
}

// The live map on an event's pages. What is chosen is one set, whether it was chosen on the map or
// in the list of check boxes, and both are held in the same way.

import { FREE, Picture, SOLD } from "./canvas.js";
import { Hall } from "./hall.js";
import { Live, OLD_MS } from "./live.js";

const HOLD_TIMEOUT_MS = 15_000;

const form = document.querySelector("[data-seat-map]");
const part = (name) => form.querySelector(`[data-${name}]`);
const { event: eventId, section: only, locale } = form.dataset;
const most = Number(form.dataset.most);
const canvas = form.querySelector("canvas");
const grid = form.querySelector("[role=grid]");
const button = form.querySelector("[type=submit]");
const chosen = new Set();
let hall, states, picture, live, currency;
let cursor = -1; // the row of the grid's one tab stop, and its seat
let cursorRow = 0;
let holding = false;
let unsure = []; // seats that were asked for, and no answer came

const isFree = (position) => states[position] === FREE;
const said = (minor) => {
	if (!minor) return "free of charge";
	const format = new Intl.NumberFormat(locale, { style: "currency", currency, trailingZeroDisplay: "stripIfInteger" });
	return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
};
const number = (n) => n.toLocaleString(locale);
const priceOf = (positions) => positions.reduce((sum, at) => sum + hall.sectionOf(at).price, 0);
const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
const words = { [FREE]: "available", [SOLD]: "sold" };
const word = (position) => words[states[position]] || "on hold";

function attributes(element, given) {
	for (const name in given) element.setAttribute(name, given[name]);
	return element;
}

function element(tag, text, given) {
	const made = document.createElement(tag);
	made.textContent = text;
	return attributes(made, given);
}

function freeIn(section) {
	let free = 0;
	for (let at = section.start; at < section.start + section.size; at++) free += isFree(at);
	return free;
}

// --- what is chosen

const storage = `chosen:${eventId}`;

// A browser may forbid storage: then a reload forgets what was chosen, no more.
function keep(where, name, value) {
	try {
		if (value) window[where].setItem(name, JSON.stringify(value));
		return JSON.parse(window[where].getItem(name));
	} catch {
		return null;
	}
}

function choose(positions, wanted) {
	let full = false;
	for (const position of positions) {
		if (!wanted) chosen.delete(position);
		else if (!isFree(position)) continue;
		else if (chosen.size < most) chosen.add(position);
		else full = true;
	}
	showChosen(positions);
	if (full) say(`At most ${count(most, "seat")}.`);
}

function showChosen(changed) {
	picture.changed(changed);
	for (const position of changed) showInList(position);
	if (changed.includes(cursor)) labelCursor();
	const seats = [...chosen];
	part("chosen").textContent = seats.length
		? `${seats.map((at) => hall.name(at)).join("; ")}. ${said(priceOf(seats))}.`
		: "No seat is chosen yet.";
	button.textContent = seats.length ? `Hold ${count(seats.length, "seat")}` : "Hold seats";
	keep("sessionStorage", storage, seats.map((at) => hall.ids[at]));
}

function say(text) {
	part("said").textContent = text;
}

// --- the list

const boxes = new Map();

function showInList(position) {
	const box = boxes.get(position);
	if (!box) return;
	const free = isFree(position);
	box.checked = chosen.has(position);
	// Somebody else's, or it could not be chosen; one's own choice can always be undone.
	box.disabled = !free && !box.checked;
	if (free) delete box.dataset.state;
	else box.dataset.state = word(position) === "sold" ? "sold" : "held";
	const label = box.parentElement.lastElementChild;
	label.textContent = label.textContent.replace(/[^,]*$/, ` ${word(position)}`);
}

function connectList() {
	for (const box of document.querySelectorAll("[data-list] [name=seats]")) {
		const position = hall.positions.get(box.value);
		boxes.set(position, box);
		box.onchange = () => choose([position], box.checked);
		if (box.checked && isFree(position)) chosen.add(position);
	}
	document.querySelector("form[data-list]")?.addEventListener("submit", hold);
}

function show(view) {
	const map = view === "map";
	part("map").hidden = !map;
	for (const shown of document.querySelectorAll("[data-list]")) shown.hidden = map;
	for (const one of form.querySelectorAll("[data-view]")) {
		one.setAttribute("aria-pressed", one.dataset.view === view);
	}
	keep("localStorage", "view", view);
}

// --- the grid of WAI-ARIA

// One cell at a time is in the document: the one that has the focus, or would get it. A screen
// reader hears where it stands of how many.

function moveTo(row, position, focus) {
	cursorRow = row;
	cursor = position;
	const { section, start } = hall.rows[row];
	const line = element("div", "", { role: "row", "aria-rowindex": row + 1 });
	const column = section.general ? 1 : position - start + 1;
	line.append(element("div", "", { role: "gridcell", tabindex: 0, class: "cell", "aria-colindex": column }));
	// Before the old one goes: the focus never falls out of the grid.
	const old = grid.firstElementChild;
	grid.append(line);
	labelCursor();
	if (focus) {
		picture.reveal(...cursorPlace());
		focusCell();
	}
	old?.remove();
	placeCursor();
	if (focus) grid.firstElementChild.firstElementChild.scrollIntoView({ block: "nearest" });
}

const focusCell = () => grid.lastElementChild.firstElementChild.focus({ preventScroll: true });

function cursorPlace() {
	const { section, y } = hall.rows[cursorRow];
	return section.general ? [section.x + section.width / 2, y] : [hall.x[cursor], hall.y[cursor]];
}

function labelCursor() {
	const cell = grid.lastElementChild.firstElementChild;
	const { section } = hall.rows[cursorRow];
	const price = said(section.price);
	if (section.general) {
		const free = `${number(freeIn(section))} of ${number(section.size)} left`;
		return attributes(cell, { "aria-label": `${section.name}, not numbered, ${price}, ${free}. Enter to say how many` });
	}
	const mine = chosen.has(cursor);
	attributes(cell, {
		"aria-label": `${hall.name(cursor)}, ${price}, ${mine ? "chosen" : word(cursor)}`,
		"aria-selected": mine,
		"aria-disabled": !mine && !isFree(cursor),
	});
}

function placeCursor() {
	const cell = grid.lastElementChild?.firstElementChild;
	if (!cell || !picture.width) return;
	const [x, y] = picture.toCanvas(...cursorPlace());
	const size = Math.max(24, picture.scale);
	Object.assign(cell.style, { inlineSize: `${size}px`, blockSize: `${size}px` });
	cell.style.transform = `translate(${x - size / 2}px, ${y - size / 2}px)`;
}

const keys = {
	ArrowLeft: (row) => [cursorRow, Math.max(row.start, cursor - 1)],
	ArrowRight: (row) => [cursorRow, Math.min(row.start + row.size - 1, cursor + 1)],
	ArrowUp: () => toRow(cursorRow - 1),
	ArrowDown: () => toRow(cursorRow + 1),
	Home: (row, all) => (all ? [0, hall.rows[0].start] : [cursorRow, row.start]),
	End: (row, all) => {
		const at = all ? hall.rows.length - 1 : cursorRow;
		return [at, hall.rows[at].start + hall.rows[at].size - 1];
	},
	// A section at a time: in a stadium the next one is twenty rows away.
	PageUp: (row) => toSection(hall.sections.indexOf(row.section) - 1),
	PageDown: (row) => toSection(hall.sections.indexOf(row.section) + 1),
};

function toRow(at) {
	const row = hall.rows[Math.min(Math.max(at, 0), hall.rows.length - 1)];
	return [hall.rows.indexOf(row), row.section.general ? row.start : hall.nearestInRow(row, cursorPlace()[0])];
}

function toSection(at) {
	const section = hall.sections[Math.min(Math.max(at, 0), hall.sections.length - 1)];
	const row = hall.rows.findIndex((r) => r.section === section);
	return [row, hall.rows[row].start];
}

function key(event) {
	const row = hall.rows[cursorRow];
	if (event.altKey) return;
	if (keys[event.key]) moveTo(...keys[event.key](row, event.ctrlKey || event.metaKey), true);
	else if (event.key === " " || event.key === "Enter") touched(row.section.general ? row : { position: cursor });
	else return;
	event.preventDefault();
}

function touched({ section, position }) {
	if (section) {
		document.getElementById("section").value = section.id;
		return document.getElementById("quantity").focus();
	}
	if (position !== cursor) moveTo(hall.rowOf[position], position);
	focusCell();
	if (chosen.has(position) || isFree(position)) choose([position], !chosen.has(position));
	say(`${count(chosen.size, "seat")} chosen.`);
}

// --- holding

async function hold(event) {
	event?.preventDefault();
	if (holding) return;
	const seats = [...chosen];
	if (!seats.length) return tell("Choose at least one seat.");
	part("message").hidden = true;
	const buttons = [button, ...document.querySelectorAll("form[data-list] [type=submit]")];
	holding = true;
	for (const one of buttons) one.disabled = true;
	say(`Holding ${count(seats.length, "seat")}.`);
	try {
		await sendHold(seats);
	} finally {
		holding = false;
		for (const one of buttons) one.disabled = false;
	}
}

async function sendHold(seats) {
	const fields = new URLSearchParams(new FormData(form));
	for (const position of seats) fields.append("seats", hall.ids[position]);
	let answer, told;
	try {
		answer = await fetch(form.action, {
			method: "POST",
			body: fields,
			headers: { Accept: "application/json" },
			signal: AbortSignal.timeout(HOLD_TIMEOUT_MS),
		});
		told = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : {};
	} catch {
		// Perhaps they are ours: the same form gets the same hold again.
		unsure = seats;
		return tell("No answer came", "The seats are still chosen. Press the button again when you are back online.");
	}
	unsure = [];
	if (answer.status === 201) {
		// They show as on hold from now on, and it is we who hold them.
		live.stop();
		chosen.clear();
		showChosen(seats);
		location.assign(told.address);
		return new Promise(() => {});
	}
	if (told.code === "seat_taken") return lost(told.seats.map((id) => hall.positions.get(id)), true);
	const wait = answer.headers.get("Retry-After");
	tell(
		told.code === "sale_not_open" ? "The sale has not opened yet." : told.detail || "Please load the page again.",
		`${wait ? `Try again in ${count(Number(wait), "second")}. ` : ""}What you chose is kept.`,
	);
}

// Seats of ours that somebody else got: name them, keep the others, offer the nearest.
function lost(positions, refused) {
	for (const position of positions) {
		chosen.delete(position);
		if (isFree(position)) states[position] = "h".charCodeAt(0);
	}
	const kept = [...chosen];
	const instead = hall.insteadOf(positions, (at) => isFree(at) && !chosen.has(at));
	showChosen(positions);
	const names = (seats) => seats.map((at) => hall.name(at)).join("; ");
	const paragraphs = [`Taken by somebody else: ${names(positions)}.`];
	if (kept.length) paragraphs.push(`Still free and still chosen: ${names(kept)}.`);
	if (refused) paragraphs.push("Nothing is held for you yet.");
	const missing = positions.length - instead.length;
	if (missing) paragraphs.push(`For ${count(missing, "seat")} there is no other at that price in the section.`);
	tell("Somebody was faster", ...paragraphs);
	if (instead.length) {
		const offer = element("button", `Hold ${names(instead)} instead${kept.length ? `, with the ${count(kept.length, "seat")} you still have` : ""}`, { type: "button" });
		offer.onclick = () => {
			choose(instead, true);
			hold();
		};
		part("message").append(offer);
	}
	if (refused) live.ask();
}

function tell(title, ...paragraphs) {
	const box = part("message");
	box.replaceChildren(element("h3", title), ...paragraphs.filter(Boolean).map((text) => element("p", text)));
	box.hidden = false;
	// Only what answers the buyer's own press takes the focus.
	if (holding || !chosen.size) box.scrollIntoView({ block: "nearest" });
	if (holding) box.focus();
}

// --- what the server says

function heard({ seats }) {
	const changed = [];
	for (let at = 0; at < seats.length; at++) {
		const state = seats.charCodeAt(at);
		if (states[at] !== state) {
			states[at] = state;
			changed.push(at);
		}
	}
	if (!changed.length || !picture) return;
	picture.changed(changed);
	for (const at of changed) showInList(at);
	if (cursor >= 0) labelCursor();
	showCounts();
	// While ours are being held they may show as on hold: by us.
	const gone = holding ? [] : [...chosen].filter((at) => !isFree(at) && !unsure.includes(at));
	if (gone.length) lost(gone, false);
}

function showCounts() {
	for (const shown of document.querySelectorAll("[data-free-of]")) {
		const section = hall.sections.find((s) => s.id === shown.dataset.freeOf);
		shown.textContent = number(section ? freeIn(section) : hall.sections.reduce((sum, s) => sum + freeIn(s), 0));
	}
}

function showAge() {
	const old = live.ageMs > OLD_MS && !document.hidden;
	const age = part("age");
	const text = "The shop cannot be reached; the map goes on by itself.";
	if (old) age.textContent = `${text} This is how it was ${count(Math.round(live.ageMs / 1000), "second")} ago.`;
	if (old === age.hidden) say(old ? text : "The map is up to date again.");
	age.hidden = !old;
}

// --- beginning

async function begin() {
	const address = `/api/events/${encodeURIComponent(eventId)}`;
	const answer = await fetch(address, { credentials: "omit" });
	if (!answer.ok) return; // The page works without the map.
	const event = await answer.json();
	currency = event.currency;
	form.hidden = false;
	const aisles = new Set(form.dataset.aisles.split(" ").filter(Boolean).map(Number));
	hall = new Hall(event, canvas.clientWidth / canvas.clientHeight, only, aisles);
	states = new Uint8Array(hall.ids.length);
	const opens = document.querySelector("[data-opens-in-ms]");
	live = new Live(`${address}/seats`, heard, opens ? performance.now() + Number(opens.dataset.opensInMs) : 0);
	await live.first;
	connectList();
	for (const id of keep("sessionStorage", storage) || []) {
		const position = hall.positions.get(id);
		if (hall.rowOf[position] >= 0 && isFree(position) && chosen.size < most) chosen.add(position);
	}
	picture = new Picture(canvas, hall, { states, chosen, freeIn, touched, moved: () => picture && placeCursor() });
	const longest = Math.max(...hall.rows.map((row) => (row.section.general ? 1 : row.size)));
	attributes(grid, { "aria-rowcount": hall.rows.length, "aria-colcount": longest });
	moveTo(0, hall.rows[0].start);
	for (const position of boxes.keys()) showInList(position);
	showChosen([...chosen]);
	showCounts();
	setInterval(showAge, 1000);
	grid.onkeydown = key;
	// A drag would take the focus away from the grid, and with it the keys and the wheel.
	canvas.onmousedown = (event) => {
		event.preventDefault();
		focusCell();
	};
	form.onsubmit = hold;
	const zooms = { in: () => picture.zoom(1.6), out: () => picture.zoom(1 / 1.6), all: () => picture.showAll() };
	for (const one of form.querySelectorAll("[data-zoom]")) one.onclick = zooms[one.dataset.zoom];
	for (const one of form.querySelectorAll("[data-view]")) one.onclick = () => show(one.dataset.view);
	show(keep("localStorage", "view") || "map");
	form.dataset.ready = "";
}

begin();

// The live seat map on an event's pages. The map and the list of check boxes share one set of chosen
// seats, and one way to hold them.

import { parsed, pause, persistently, within } from "./asking.js";
import { showHall } from "./canvas.js";
import { layOut } from "./hall.js";
import { follow } from "./live.js";
import { grouped, priceWriter } from "./money.js";

const HOLD_TIMEOUT_MS = 15_000;
const BASKET_TIMEOUT_MS = 4000;
const SENT_FOR_MS = 30_000; // after that the buyer can press again: they may have pressed Stop
const OLD_MS = 6000;
const WORDS = { 0: "available", s: "sold" }; // for the API's states; "h" and "p" are "on hold"

const all = (selector) => [...document.querySelectorAll(selector)];
const part = (name) => document.querySelector(`[data-${name}]`);
const form = part("seat-map");
const { event: eventId, section: only, locale } = form.dataset;
const most = Number(form.dataset.most);
const canvas = form.querySelector("canvas");
const grid = form.querySelector("[role=grid]");
const chosen = new Set();
const boxes = new Map();
let hall, picture, live;
let states = [];
let cursor, cursorRow; // the seat that is the grid's one tab stop, and its row
let holding = false;
let isOutdated = false;
let toldOffline = false;
let unsure = []; // seats whose hold got no answer: they may be held for this buyer

const isFree = (position) => states[position] === "0";
const stateOf = (position) => WORDS[states[position]] || "on hold";
const kindOf = (position) => (chosen.has(position) ? "chosen" : stateOf(position));
const freeIn = ({ start, size }) => states.slice(start, start + size).filter((state) => state === "0").length;
const isSoldOut = ({ start, size }) => states.slice(start, start + size).every((state) => state === "s");

const format = JSON.parse(form.dataset.money);
const number = (n) => grouped(n, format.group);
const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
const names = (seats) => seats.map(hall.name).join("; ");
const price = priceWriter(format);

// The chosen seats, kept for a reload of the page. Where a browser forbids storage they are lost then.
function remembered(seats) {
	try {
		if (seats) sessionStorage.setItem(eventId, JSON.stringify(seats));
		return JSON.parse(sessionStorage.getItem(eventId)) || [];
	} catch {
		return [];
	}
}

function choose(positions, wanted) {
	for (const position of positions) {
		if (!wanted) chosen.delete(position);
		else if (isFree(position) && chosen.size < most) chosen.add(position);
	}
	showChosen(positions);
	part("said").textContent = `${count(chosen.size, "seat")} of at most ${number(most)} chosen.`;
}

function showChosen(changed) {
	showStates(changed);
	const seats = [...chosen];
	const sum = seats.reduce((total, at) => total + hall.sectionOf(at).price, 0);
	part("chosen").textContent = seats.length ? `${names(seats)}. ${price(sum)}.` : "";
	form.querySelector("[type=submit]").textContent = seats.length ? `Hold ${count(seats.length, "seat")}` : "Hold seats";
	remembered(seats.map((at) => hall.ids[at]));
}

function showStates(changed) {
	picture.changed(changed);
	labelCursor();
	for (const position of changed) {
		const box = boxes.get(position);
		if (!box) continue;
		box.checked = chosen.has(position);
		// A seat that is not available cannot be chosen, but a chosen one can always be taken out.
		box.disabled = !isFree(position) && !box.checked;
		box.dataset.state = stateOf(position);
		const label = box.parentElement.lastElementChild;
		label.textContent = label.textContent.replace(/[^,]*$/, ` ${stateOf(position)}`);
	}
}

function show(view) {
	part("map").hidden = view !== "map";
	for (const shown of all("[data-list]")) shown.hidden = view === "map";
	for (const one of all("[data-view]")) set(one, "aria-pressed", one.dataset.view === view);
}

// With setAttribute: properties such as element.ariaPressed are too new for the oldest browsers.
function set(element, attribute, value) {
	if (value === null) element.removeAttribute(attribute);
	else element.setAttribute(attribute, value);
}

// --- the WAI-ARIA grid for keyboards and screen readers. Only the current cell is in the document;
// aria-rowindex and aria-rowcount (and those of columns) tell where it is in the whole.

const cell = () => grid.lastElementChild.firstElementChild;
const focusCell = () => cell().focus({ preventScroll: true });

function moveTo(row, position, focus) {
	[cursorRow, cursor] = [row, position];
	const old = grid.firstElementChild;
	grid.append(old.cloneNode(true));
	set(grid.lastElementChild, "aria-rowindex", hall.rows.indexOf(row) + 1);
	set(cell(), "aria-colindex", row.section.general ? 1 : position - row.start + 1);
	labelCursor();
	if (focus) {
		picture.reveal(...cursorPlace());
		focusCell();
	}
	// Last, so that the focus never leaves the grid.
	old.remove();
	placeCursor();
	if (focus) cell().scrollIntoView({ block: "nearest" });
}

function cursorPlace() {
	const { section, y } = cursorRow;
	return [section.general ? section.x + section.width / 2 : hall.x[cursor], y];
}

function labelCursor() {
	const { section } = cursorRow;
	const kind = section.general ? `${number(freeIn(section))} of ${number(section.size)} left` : kindOf(cursor);
	const name = section.general ? `${section.name}, not numbered` : hall.name(cursor);
	set(cell(), "aria-label", `${name}, ${price(section.price)}, ${kind}`);
	set(cell(), "aria-selected", section.general ? null : kind === "chosen");
	set(cell(), "aria-disabled", kind === "on hold" || kind === "sold");
}

function placeCursor() {
	const [x, y, scale] = picture?.toCanvas(...cursorPlace()) || [];
	const size = `${Math.max(24, scale)}px`;
	if (scale) Object.assign(cell().style, { inlineSize: size, blockSize: size, left: `${x}px`, top: `${y}px` });
}

const at = (index, things) => things[Math.min(Math.max(index, 0), things.length - 1)];
const firstOf = (row) => [row, row.start];
const lastOf = (row) => [row, row.start + row.size - 1];

function toRow(step) {
	const row = at(hall.rows.indexOf(cursorRow) + step, hall.rows);
	return [row, hall.nearestInRow(row, cursorPlace()[0])];
}

// For PageUp and PageDown: in a stadium the next section is twenty rows away.
function toSection(step) {
	const section = at(hall.sections.indexOf(cursorRow.section) + step, hall.sections);
	return firstOf(hall.rows.find((row) => row.section === section));
}

const keys = {
	ArrowLeft: () => [cursorRow, Math.max(cursorRow.start, cursor - 1)],
	ArrowRight: () => [cursorRow, Math.min(lastOf(cursorRow)[1], cursor + 1)],
	ArrowUp: () => toRow(-1),
	ArrowDown: () => toRow(1),
	Home: (whole) => firstOf(whole ? hall.rows[0] : cursorRow),
	End: (whole) => lastOf(whole ? hall.rows[hall.rows.length - 1] : cursorRow),
	PageUp: () => toSection(-1),
	PageDown: () => toSection(1),
};

grid.onkeydown = (event) => {
	if (event.altKey) return;
	if (keys[event.key]) moveTo(...keys[event.key](event.ctrlKey || event.metaKey), true);
	else if (event.key === " " || event.key === "Enter") touched(cursorRow.section, cursor);
	else return;
	event.preventDefault();
};

function touched(section, position) {
	if (section.general) return askHowMany(section);
	if (position !== cursor) moveTo(hall.rows[hall.rowOf[position]], position);
	focusCell();
	choose([position], !chosen.has(position));
}

function askHowMany(section) {
	const free = freeIn(section);
	if (!free) return tell(section.name, isSoldOut(section) ? "Sold out." : "No places are available right now.");
	const dialog = document.getElementById(`places-${section.id}`);
	const quantity = dialog.querySelector("select");
	for (const option of quantity.options) option.disabled = option.value > free;
	quantity.value = Math.min(quantity.value, free);
	// eslint-disable-next-line newer/members -- only where it exists
	if (dialog.showModal) return dialog.showModal();
	// Browsers without dialogs show it as a part of the page.
	dialog.setAttribute("open", "");
	quantity.focus();
}

function closeDialogs() {
	for (const dialog of all("dialog[open]")) {
		if (dialog.close) dialog.close();
		else dialog.removeAttribute("open");
	}
}

// --- holding

// Holds the chosen seats, or as many places as were selected in the dialog of a section.
async function hold(event) {
	event?.preventDefault();
	const places = event?.target.closest("dialog form");
	const seats = places ? [] : [...chosen];
	if (holding) return;
	if (!places && !seats.length) return tell("Choose at least one seat.");
	part("message").hidden = true;
	lock(true);
	await send(places || form, seats);
	lock(false);
}

function lock(locked) {
	holding = locked;
	for (const one of all("form[method=post] [type=submit]")) one.disabled = locked;
}

// Resolves when the buyer may press again.
async function send(sent, seats) {
	fill(sent, seats);
	try {
		// As pages.js does: another tab may see these seats taken before that page loads.
		localStorage.setItem("holds", "1");
	} catch {
		// No storage: see inBasket().
	}
	let answer, reply;
	try {
		const body = new URLSearchParams(new FormData(sent));
		reply = await within(HOLD_TIMEOUT_MS, async (signal) => {
			answer = await fetch(sent.action, { method: "POST", body, headers: { Accept: "application/json" }, signal });
			return answer.json();
		});
		if (answer.ok ? !reply.address : !reply.code) throw new Error("not an answer of ours");
	} catch {
		// The seats may be held: sending the same form again gets the same hold.
		unsure = seats;
		if (navigator.onLine !== false || toldOffline) {
			// As without scripts: a content filter that blocks fetch may let a form through.
			sent.submit();
			return pause(SENT_FOR_MS);
		}
		toldOffline = true;
		return tell("Your browser says that it is offline", "No answer came. What you chose is kept. Press the button again when you are back online.");
	}
	toldOffline = false;
	unsure = [];
	if (answer.ok) {
		// The next map would show them as on hold, as if somebody else had taken them.
		live.stop();
		for (const position of seats) chosen.delete(position);
		showChosen(seats);
		location.assign(reply.address);
		await pause(SENT_FOR_MS);
		return live.start();
	}
	if (reply.code === "seat_taken") return lost(positionsOf(reply.seats), positionsOf(reply.yours));
	const wait = Number(answer.headers.get("Retry-After")); // falsy when absent (0) or a date (NaN)
	// When a whole network holds too many, this basket may have none of them: no link to it.
	const isFull = reply.code === "basket_full" || (reply.code === "too_many_held" && "max_held_per_client" in reply);
	tell(
		reply.code === "sale_not_open" ? "The sale has not opened yet." : reply.detail || "Please load the page again.",
		`${wait ? `Try again in ${count(wait, "second")}. ` : ""}What you chose is kept.`,
	);
	if (isFull) addBasket();
}

function fill(sent, seats) {
	for (const field of sent.querySelectorAll("input[name=seats]")) field.remove();
	for (const position of seats) {
		const field = document.createElement("input");
		sent.append(Object.assign(field, { type: "hidden", name: "seats", value: hall.ids[position] }));
	}
}

const positionsOf = (ids) => ids.map((id) => hall.positions.get(id));

// Seats in this browser's basket: another tab may have held them.
async function inBasket() {
	try {
		if (!localStorage.getItem("holds")) return [];
	} catch {
		// No storage: only the server knows.
	}
	try {
		const page = await within(BASKET_TIMEOUT_MS, async (signal) => (await fetch(form.dataset.basket, { signal })).text());
		const lines = [...parsed(page).querySelectorAll(`[data-event="${eventId}"]`)];
		return lines.flatMap((line) => positionsOf(line.dataset.seats.split(" ")));
	} catch {
		return [];
	}
}

// Says which chosen seats are gone and offers the nearest instead. `mine` are in this browser's basket.
function lost(positions, mine) {
	for (const position of positions) {
		chosen.delete(position);
		if (isFree(position)) states[position] = "h";
	}
	const kept = [...chosen];
	const ours = positions.filter((seat) => mine.includes(seat));
	const theirs = positions.filter((seat) => !mine.includes(seat));
	const instead = hall.insteadOf(theirs, (seat) => kindOf(seat) === "available");
	showChosen(positions);
	tell(
		theirs.length ? "Somebody was faster" : "You have these seats already",
		theirs.length && `Taken by somebody else: ${names(theirs)}. ${ours.length ? "" : "Nothing is held for you yet."}`,
		ours.length && `In your basket: ${names(ours)}.`,
		kept.length && `Still available and still chosen: ${names(kept)}.`,
	);
	if (ours.length) addBasket();
	if (!instead.length) return;
	const others = kept.length ? ", with those you still have" : "";
	const offer = add("button", `Hold ${names(instead)} instead${others}`);
	offer.type = "button";
	offer.onclick = () => {
		choose(instead, true);
		guarded(hold)();
	};
}

const addBasket = () => Object.assign(add("a", "Your basket"), { className: "alone", href: form.dataset.basket });

function add(tag, text) {
	const made = document.createElement(tag);
	made.textContent = text;
	part("message").append(made);
	return made;
}

function tell(title, ...paragraphs) {
	const box = part("message");
	box.textContent = "";
	add("h3", title);
	for (const text of paragraphs) if (text) add("p", text);
	box.hidden = false;
	// The message takes the focus only when it answers a press of the buyer.
	if (holding || !chosen.size) box.scrollIntoView({ block: "nearest" });
	if (!holding) return;
	closeDialogs();
	box.focus();
}

// The event's seats were changed: positions no longer mean the same seats as on this map.
function outdated() {
	if (isOutdated) return;
	isOutdated = true;
	tell("This event was changed", "Its seats or prices are no longer those on this page. Load it again; what you chose is kept.");
	const again = add("button", "Load the page again");
	again.type = "button";
	again.onclick = () => location.reload();
}

async function update({ seats, layout }) {
	if (layout !== form.dataset.layout) return outdated();
	const changed = [];
	for (let seat = 0; seat < seats.length; seat++) if (states[seat] !== seats[seat]) changed.push(seat);
	states = [...seats];
	if (!changed.length || !picture) return;
	showStates(changed);
	showCounts();
	// While this page's own hold is under way, its seats may already show as on hold.
	const gone = holding ? [] : [...chosen].filter((seat) => !isFree(seat) && !unsure.includes(seat));
	if (!gone.length) return;
	for (const seat of gone) chosen.delete(seat);
	showChosen(gone);
	lost(gone, await inBasket());
}

function showCounts() {
	const soldOut = hall.sections.every(isSoldOut);
	for (const shown of all("[data-while-on-sale]")) shown.hidden = soldOut;
	for (const shown of all("[data-free-of]")) {
		const counted = hall.sections.filter(({ id }) => !shown.dataset.freeOf || id === shown.dataset.freeOf);
		shown.textContent = number(counted.reduce((free, section) => free + freeIn(section), 0));
	}
}

function showAge() {
	const old = live.ageMs() > OLD_MS && !document.hidden;
	const age = part("age");
	if (old !== !age.textContent) return;
	const then = new Date(Date.now() - live.ageMs()).toLocaleTimeString(locale);
	age.textContent = old ? `The shop cannot be reached. This is how it was at ${then}.` : "";
}

async function begin() {
	const definition = await persistently(form.dataset.definition);
	if (definition.layout !== form.dataset.layout) throw new Error("the seats were changed since this page was made");
	const working = document.activeElement?.closest("[data-list]");
	form.hidden = false;
	if (!canvas.clientWidth || !canvas.clientHeight) throw new Error("the map has no room");
	update(form.dataset);
	draw(definition);
	listen();
	const opensInMs = Number(part("opens-in-ms")?.dataset.opensInMs || 0);
	const address = `/api/events/${encodeURIComponent(eventId)}/seats`;
	live = follow(address, form.dataset.revision, guarded(update), performance.now() + opensInMs);
	// A buyer who already uses the list stays there.
	show(working ? "list" : "map");
	form.dataset.ready = "";
}

function draw(definition) {
	const aisles = new Set(JSON.parse(form.dataset.aisles));
	hall = layOut(definition, canvas.clientWidth / canvas.clientHeight, only, aisles);
	const before = remembered().map((id) => hall.positions.get(id));
	for (const box of all("form[data-list] [name=seats]")) {
		const position = hall.positions.get(box.value);
		boxes.set(position, box);
		if (box.checked) before.push(position);
	}
	picture = showHall(canvas, hall, { kindOf, freeIn, touched, moved: placeCursor });
	set(grid, "aria-rowcount", hall.rows.length);
	set(grid, "aria-colcount", Math.max(...hall.rows.map((row) => row.size)));
	moveTo(...firstOf(hall.rows[0]));
	choose(before.filter((position) => hall.rowOf[position] >= 0), true);
	showChosen([...boxes.keys()]);
	showCounts();
}

const holdForms = () => all("[data-seat-map], form[data-list], dialog form[method=post]");

function listen() {
	for (const [position, box] of boxes) box.onchange = () => choose([position], box.checked);
	// Keeps the focus in the grid: without it a drag would end the use of the keys and the wheel.
	canvas.onmousedown = (event) => {
		event.preventDefault();
		focusCell();
	};
	for (const one of holdForms()) one.onsubmit = guarded(hold);
	for (const one of all("[data-zoom]")) one.onclick = () => picture.zoom(Number(one.dataset.zoom));
	for (const one of all("[data-view]")) one.onclick = () => show(one.dataset.view);
	for (const one of all("[data-close]")) one.onclick = closeDialogs;
	setInterval(showAge, 1000);
	// The buyer came back from the page of the hold.
	window.addEventListener("pageshow", ({ persisted }) => {
		if (!persisted) return;
		lock(false);
		live.start();
	});
}

// --- a failure of this script must leave the list usable

function giveUp(failure) {
	console.error(failure);
	live?.stop();
	closeDialogs();
	for (const one of holdForms()) one.onsubmit = null;
	for (const box of boxes.values()) box.onchange = null;
	for (const shown of all("[data-list]")) shown.hidden = false;
	form.hidden = true;
	delete form.dataset.ready;
	lock(false);
}

function guarded(work) {
	return async (argument) => {
		try {
			await work(argument);
		} catch (failure) {
			giveUp(failure);
		}
	};
}

const ours = new URL(".", import.meta.url).href;
window.addEventListener("error", ({ filename, error }) => {
	// The stack too: what an extension has put in a function's place may throw in our calls.
	if (error && `${filename} ${error.stack}`.includes(ours)) giveUp(error);
});
begin().catch(giveUp);

// The page of a gate: scans tickets, asks the server, and decides by itself when there is no connection.

import { within } from "./asking.js";
import { watch } from "./camera.js";
import { DoorMemory } from "./door_memory.js";
import { isOfFormerRelease, readTicket } from "./ticket.js";

const ANSWER_MS = 3000; // a queue does not wait longer: then the gate decides
const CONNECT_EVERY_MS = 5000;
const COUNT_EVERY_MS = 20_000;
const OUT_OF_SIGHT_MS = 2500; // the same code in front of the camera for longer is one scan
const JUST_NOW_MS = 15_000;
const MOST_REPORTS_AT_ONCE = 20;

const page = document.getElementById("door");
const { event, address } = page.dataset;
const keys = page.dataset.keys.split(" ");
const names = JSON.parse(page.dataset.sections);
const memory = new DoorMemory(event);
const part = (name) => page.querySelector(`[data-${name}]`);

let token = sessionStorage.getItem("door-token") ?? "";
let online = true;

// --- words

function seatName(seat) {
	const [, section, row, number] = /^(.*)-([^-]*)-([^-]*)$/.exec(seat) ?? [];
	if (!section) return seat;
	const { name = section, general = row === "GA" } = names[section] ?? {};
	return general ? `${name}, place ${number}` : `${name}, row ${row}, seat ${number}`;
}

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const people = (number) => (number === 1 ? "1 person" : `${number} people`);

// --- a big yes or no, which is also heard and felt

let sound;
function tone(hertz, startS, lengthS) {
	if (!sound) return;
	const oscillator = sound.createOscillator();
	const volume = sound.createGain();
	oscillator.frequency.value = hertz;
	volume.gain.setValueAtTime(0.3, sound.currentTime + startS);
	volume.gain.setValueAtTime(0, sound.currentTime + startS + lengthS);
	oscillator.connect(volume).connect(sound.destination);
	oscillator.start(sound.currentTime + startS);
	oscillator.stop(sound.currentTime + startS + lengthS);
}

const SIGNALS = {
	yes: { tones: [[880, 0, 0.12], [1320, 0.12, 0.18]], felt: [80] },
	again: { tones: [[440, 0, 0.15], [440, 0.25, 0.15]], felt: [80, 80, 80] },
	no: { tones: [[150, 0, 0.7]], felt: [400, 100, 400] },
};

function show(verdict, title, lines) {
	const answer = part("answer");
	answer.className = `verdict ${verdict}`;
	part("title").textContent = title;
	part("lines").replaceChildren(...lines.filter(Boolean).map((line) => {
		const paragraph = document.createElement("p");
		paragraph.textContent = line;
		return paragraph;
	}));
	const { tones, felt } = SIGNALS[verdict];
	for (const each of tones) tone(...each);
	// Safari has none.
	if ("vibrate" in navigator) navigator.vibrate(felt); // eslint-disable-line newer/members
	answer.scrollIntoView({ block: "nearest" });
}

function showLetIn(ticket, seats, name, note) {
	const missing = ticket ? ticket.seats.length - seats.length : 0;
	const rest = missing ? `${missing} of this ticket ${missing > 1 ? "were" : "was"} let in before or refunded.` : "";
	show("yes", `Yes: ${people(seats.length)}`, [name, ...seats.map(seatName), rest, note]);
}

function showAlready(seats, atMs, gate) {
	const ago = Date.now() - atMs;
	const hereAndNow = gate === memory.gate && ago < JUST_NOW_MS;
	const when = `${seats.map(seatName).join("; ")}: let in at ${clock(atMs)}, gate ${gate}.`;
	if (hereAndNow) show("again", "Scanned already", ["Here, a moment ago. It admits nobody else.", when]);
	else show("no", "No: already inside", [when]);
}

// --- the server

class NoAnswer extends Error {}

async function ask(method, body, key) {
	const headers = { Authorization: `Bearer ${token}` };
	if (body) headers["Content-Type"] = "application/json";
	if (key) headers["Idempotency-Key"] = key;
	let answer;
	let content;
	try {
		[answer, content] = await within(ANSWER_MS, async (signal) => {
			const response = await fetch(address, {
				method, headers, signal, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit",
			});
			return [response, await response.json()];
		});
	} catch (failure) {
		connected(false);
		throw new NoAnswer(String(failure));
	}
	const busy = answer.status === 429 || answer.status > 499;
	connected(!busy);
	if (busy) throw new NoAnswer(content.detail);
	if (answer.status === 401) stop("That is not the token of the doors.");
	return { status: answer.status, content };
}

function connected(now) {
	online = now;
	const waiting = memory.reports.length;
	const to = waiting ? ` ${waiting} ${waiting === 1 ? "scan" : "scans"} to report.` : "";
	part("connection").textContent = online ? `Connected.${to}` : `No connection: this gate decides by itself.${to}`;
	part("connection").classList.toggle("offline", !online);
}

// --- a scan

const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function decideAlone(code, key, ticket) {
	if (!ticket) {
		if (isOfFormerRelease(code)) show("no", "Cannot be checked", ["A ticket of the older kind needs a connection. Send its holder to a gate that has one, or look the name up."]);
		else show("no", "No: not a ticket", ["It is not ours, or only a part of one was read."]);
		return;
	}
	if (ticket.event !== event) return show("no", "No: another event", [`A ticket for ${ticket.event}.`]);
	const seats = ticket.seats.filter((seat) => !memory.admission(ticket.booking, seat));
	if (!seats.length) {
		const all = ticket.seats.map((seat) => memory.admission(ticket.booking, seat));
		const latest = all.reduce((one, other) => (other.atMs > one.atMs ? other : one));
		return showAlready(ticket.seats, latest.atMs, latest.gate);
	}
	const scan = { code, key, seats, atMs: Date.now(), gate: memory.gate };
	memory.report(scan);
	memory.remember(ticket.booking, seats, scan.atMs, scan.gate);
	showLetIn(ticket, seats, "", "Without a connection: only this gate knows yet.");
	connected(online);
}

async function decide(code) {
	const ticket = await readTicket(code, keys);
	const key = newKey();
	if (!online) return decideAlone(code, key, ticket);
	let answer;
	try {
		answer = await ask("POST", { code, gate: memory.gate }, key);
	} catch (failure) {
		if (!(failure instanceof NoAnswer)) throw failure;
		return decideAlone(code, key, ticket);
	}
	const { status, content } = answer;
	if (status === 201) {
		const atMs = Date.parse(content.admitted_at);
		if (ticket) memory.remember(ticket.booking, content.seats, atMs, memory.gate);
		showLetIn(ticket, content.seats, content.name, "");
		counted();
	} else if (content.code === "already_admitted") {
		const atMs = Date.parse(content.admitted_at);
		if (ticket) memory.remember(ticket.booking, content.seats, atMs, content.gate);
		showAlready(content.seats, atMs, content.gate);
	} else if (content.code === "ticket_refunded") {
		show("no", "No: refunded", ["The money was returned. This ticket admits nobody any more."]);
	} else if (content.code === "other_event") {
		show("no", "No: another event", [`A ticket for ${content.event}.`]);
	} else if (status !== 401) {
		show("no", "No: not a ticket", ["It is not ours, or only a part of one was read."]);
	}
}

let deciding = Promise.resolve();
function scan(code) {
	const text = code.trim();
	if (!text || !token) return deciding;
	deciding = deciding.then(() => decide(text)).catch((failure) => {
		console.error(failure);
		show("no", "Something went wrong", ["Scan it again."]);
	});
	return deciding;
}

// --- what happened without a connection

function showConflicts() {
	const conflicts = memory.conflicts;
	part("conflicts").hidden = !conflicts.length;
	part("conflict-list").replaceChildren(...conflicts.map(([key, text]) => {
		const item = document.createElement("li");
		const seen = document.createElement("button");
		seen.textContent = "Seen";
		seen.className = "quiet-button";
		seen.addEventListener("click", () => {
			memory.conflict(key, null);
			showConflicts();
		});
		item.append(`${text} `, seen);
		return item;
	}));
}

async function sendReports() {
	for (const scan of memory.reports.slice(0, MOST_REPORTS_AT_ONCE)) {
		const ago = Math.max(0, Date.now() - scan.atMs);
		const { status, content } = await ask("POST", {
			code: scan.code, gate: scan.gate, seats: scan.seats, admitted_ms_ago: ago,
		}, scan.key);
		if (status === 401) return;
		memory.reported(scan);
		if (status !== 201) {
			const seats = scan.seats.map(seatName).join("; ");
			const why = content.code === "already_admitted" ? `also let in at ${clock(Date.parse(content.admitted_at))}, gate ${content.gate}.` : content.detail;
			memory.conflict(scan.key, `${seats}, let in here at ${clock(scan.atMs)}: ${why}`);
			showConflicts();
		}
	}
	connected(online);
}

let countedAt = -Infinity;
const counted = () => {
	countedAt = -Infinity;
};

async function keepInTouch() {
	try {
		if (token) {
			if (memory.reports.length) await sendReports();
			if (!online || performance.now() - countedAt > COUNT_EVERY_MS) {
				const { status, content } = await ask("GET");
				if (status === 200) part("inside").textContent = `${content.admitted} of ${content.seats} inside`;
				countedAt = performance.now();
			}
		}
	} catch (failure) {
		if (!(failure instanceof NoAnswer)) console.error(failure);
	}
	setTimeout(keepInTouch, CONNECT_EVERY_MS);
}

// --- ways to scan

let lastSeen = { code: "", atMs: -Infinity };
function seen(code) {
	const now = performance.now();
	const isSame = code === lastSeen.code && now - lastSeen.atMs < OUT_OF_SIGHT_MS;
	lastSeen = { code, atMs: now };
	if (!isSame) scan(code);
}

let endCamera;
part("camera").addEventListener("click", async () => {
	const button = part("camera");
	if (endCamera) {
		endCamera();
		endCamera = undefined;
		part("video").hidden = true;
		button.textContent = "Start the camera";
		return;
	}
	button.disabled = true;
	part("camera-problem").textContent = "";
	try {
		if (!navigator.mediaDevices) throw new Error("cameras need https");
		part("video").hidden = false;
		endCamera = await watch(part("video"), seen);
		button.textContent = "Stop the camera";
	} catch (failure) {
		part("video").hidden = true;
		part("camera-problem").textContent = `The camera cannot be used (${failure.message}). Allow it in the browser's settings for this page, or use a hand scanner.`;
	}
	button.disabled = false;
});

part("typed").addEventListener("submit", (submitted) => {
	submitted.preventDefault();
	const field = part("typed").elements.code;
	scan(field.value);
	field.value = "";
});

// A hand scanner types wherever the focus is.
document.addEventListener("keydown", (pressed) => {
	const writes = pressed.key.length === 1 && !pressed.ctrlKey && !pressed.metaKey && !pressed.altKey;
	if (writes && !part("gate").hidden && !pressed.target.closest("input")) part("typed").elements.code.focus();
});

// --- begin and end

function stop(why) {
	token = "";
	sessionStorage.removeItem("door-token");
	endCamera?.();
	endCamera = undefined;
	part("video").hidden = true;
	part("camera").textContent = "Start the camera";
	part("gate").hidden = true;
	part("start").hidden = false;
	part("start-problem").textContent = why;
	part("start").elements.token.focus();
}

function begin() {
	part("start").hidden = true;
	part("gate").hidden = false;
	part("gate-name").textContent = memory.gate;
	if (window.matchMedia("(pointer: fine)").matches) part("typed").elements.code.focus();
	showConflicts();
	connected(online);
}

part("start").addEventListener("submit", async (submitted) => {
	submitted.preventDefault();
	const { token: given, gate } = part("start").elements;
	token = given.value.trim();
	memory.gate = gate.value.trim();
	// Browsers play sounds only after a press.
	if (window.AudioContext) sound = sound ?? new AudioContext();
	part("start-problem").textContent = "";
	try {
		const { status, content } = await ask("GET");
		if (status === 401) return;
		if (status === 200) part("inside").textContent = `${content.admitted} of ${content.seats} inside`;
	} catch (failure) {
		if (!(failure instanceof NoAnswer)) throw failure;
	}
	sessionStorage.setItem("door-token", token);
	given.value = "";
	begin();
});

part("leave").addEventListener("click", () => stop(""));
document.addEventListener("pointerdown", () => {
	if (token && window.AudioContext) sound = sound ?? new AudioContext();
});
window.addEventListener("online", () => token && ask("GET").catch(() => {}));

part("start").elements.gate.value = memory.gate;
part("start").hidden = false;
if (token && memory.gate) begin();
keepInTouch();

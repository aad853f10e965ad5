// On every page: forms are sent only once and survive a lost connection; countdowns.

import { parsed, within } from "./asking.js";

const TICK_MS = 250;
const REACHED = "/healthz"; // not rate limited, and cheap
const REACHED_MS = 2000;
const TIMEOUT_MS = 6000;
const SENT_FOR_MS = 30_000; // after that the form can be sent again: the buyer may have pressed Stop
const OPENING_JITTER_MS = 2000;
const OPENING_AGAIN_MS = 5000;
const ASLEEP_MS = 1500;
const ASK_AGAIN_MS = 1000;
const ANNOUNCED_S = [120, 60, 30, 10];

function asked(address, ms, headers) {
	return within(ms, async (signal) => {
		const answer = await fetch(address, { headers, cache: "no-store", signal });
		// Rate limited, or the server has a problem.
		if (answer.status === 429 || answer.status > 499) throw new Error(`${address} answered ${answer.status}`);
		return answer.text();
	});
}

export function words(ms) {
	let seconds = Math.max(0, Math.ceil(ms / 1000));
	const parts = [];
	for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
		const number = Math.floor(seconds / size);
		seconds -= number * size;
		if (number) parts.push(`${number} ${unit}${number > 1 ? "s" : ""}`);
	}
	return parts.slice(0, 2).join(" ") || "no time";
}

const status = document.getElementById("status");

// --- forms

const sent = new Map(); // form to the timer that gives up on it
function lock(form, locked) {
	for (const button of form.querySelectorAll("[type=submit]")) button.disabled = locked;
}

function release(form) {
	clearTimeout(sent.get(form));
	sent.delete(form);
	lock(form, false);
}

function warn(within, text) {
	within.querySelector("[data-offline]").textContent = text;
}

// Without a connection the browser would show its own error page, and what was typed would be lost. So
// a form is kept if the browser says that it is offline and cannot reach the server either; but only
// once, because neither is certain.
const kept = new Set();
async function isOffline(form) {
	if (kept.delete(form) || navigator.onLine !== false) return false;
	const reached = await asked(REACHED, REACHED_MS).then(() => true, () => false);
	if (!reached) kept.add(form);
	return !reached;
}

async function send(form) {
	warn(form, "");
	try {
		if (!(await isOffline(form))) {
			if (!form.prepare || (await form.prepare())) return form.submit();
			return release(form);
		}
		warn(form, "Your browser says that it is offline. Nothing was sent and nothing was charged. What you typed is still here: press again when you are back online.");
	} catch (failure) {
		// The failure is of `prepare`: without what it does the server would refuse the form.
		console.error(failure);
		warn(form, "Something went wrong on this page. Nothing was sent and nothing was charged. Press again, or load the page again.");
	}
	release(form);
	form.querySelector("[type=submit]").focus();
}

document.addEventListener("submit", (event) => {
	const form = event.target;
	if (event.defaultPrevented || form.method !== "post") return;
	const again = sent.has(form);
	if (again || form.querySelector("[data-offline]")) event.preventDefault();
	if (again) return;
	sent.set(form, setTimeout(() => release(form), SENT_FOR_MS));
	// Later, when the browser has read the form: a disabled button is not sent.
	setTimeout(() => lock(form, sent.has(form)));
	if (event.defaultPrevented) send(form);
});

// When the buyer comes back with the Back button, the form is as it was left and can be sent again.
window.addEventListener("pageshow", () => document.querySelectorAll("form[method=post]").forEach(release));

// --- time

// All times are of performance.now(): a computer's clock may be wrong, or be set.
const answeredAt = performance.getEntriesByType?.("navigation")[0]?.responseStart || 0;

const left = document.getElementById("time-left");
if (left) {
	try {
		// For seat maps in other tabs: a seat that becomes taken may be in this browser's own basket.
		localStorage.setItem("holds", "1");
	} catch {
		// No storage: then those maps ask the server whenever a seat becomes taken.
	}
	const shown = left.querySelector(".time");
	const here = left.dataset.address;
	let deadline = answeredAt + Number(left.dataset.expiresInMs);
	let before = deadline - performance.now();
	let lag = Date.now() - performance.now();
	let asking = false;
	for (const outdated of left.querySelectorAll("[data-without-script]")) outdated.hidden = true;

	// Asks how much time is left. Not while a form is under way: a payment outlasts the time.
	const ask = async () => {
		if (asking || sent.size) return;
		asking = true;
		try {
			const page = parsed(await asked(here, TIMEOUT_MS, { Accept: "text/html" }));
			const now = page.getElementById("time-left");
			// The page may be another one by now, which has a countdown, too.
			if (now && now.dataset.ends === left.dataset.ends) deadline = performance.now() + Number(now.dataset.expiresInMs);
			else if (!sent.size) return location.replace(here);
		} catch {
			if (before <= 0) {
				warn(left, "The time is over, and we cannot be reached. This page goes on by itself.");
				// A content filter may block requests of scripts, but not a link.
				left.querySelector("p[data-without-script]").hidden = false;
			}
		}
		setTimeout(() => (asking = false), ASK_AGAIN_MS);
	};

	const tick = () => {
		const drift = Date.now() - performance.now() - lag;
		lag += drift;
		const ms = deadline - performance.now();
		// On some computers performance.now() stops during sleep.
		if (drift > ASLEEP_MS || ms <= 0) ask();
		if (shown.textContent !== words(ms)) shown.textContent = words(ms);
		const passed = ANNOUNCED_S.find((s) => before > s * 1000 && ms <= s * 1000);
		if (passed) status.textContent = `${words(passed * 1000)} left to pay.`;
		if (before > 0 && ms <= 0) status.textContent = "The time is over.";
		before = ms;
	};
	setInterval(tick, TICK_MS);
	tick();
	window.addEventListener("pageshow", (event) => event.persisted && ask());
}

const sale = document.querySelector("[data-opens-in-ms]");
if (sale) {
	const { address, page } = sale.dataset;
	let { version } = sale.dataset;
	let opensAt = answeredAt + Number(sale.dataset.opensInMs);
	let askAt, timer;
	const shown = sale.querySelector("[data-opens]");
	const moment = sale.querySelector("time");

	// Its forms work already, but the opening may have been moved, which only the server knows. nginx's
	// answer of this second will do: it does not count against this address's limit.
	const ask = async () => {
		try {
			const seats = JSON.parse(await asked(`${address}/seats`, TIMEOUT_MS, { "Cache-Control": "max-age=1" }));
			if (seats.version !== version) {
				const event = JSON.parse(await asked(`${address}/versions/${seats.version}`, TIMEOUT_MS));
				if (Date.parse(event.sale_opens_at) > Date.parse(moment.dateTime)) return await moveTo(event);
				version = event.version;
			}
			sale.textContent = "On sale now.";
			status.textContent = "The sale is open.";
		} catch {
			shown.textContent = "about now";
			wait(performance.now() + OPENING_AGAIN_MS);
		}
	};

	// The text is taken from the server's page: it knows the event's time zone and the reader's language.
	const moveTo = async (event) => {
		const now = parsed(await asked(page, TIMEOUT_MS, { Accept: "text/html" }));
		const opening = now.querySelector("#sale time");
		if (!opening) return (sale.textContent = now.getElementById("sale").textContent);
		opensAt += Date.parse(event.sale_opens_at) - Date.parse(moment.dateTime);
		version = event.version;
		moment.dateTime = event.sale_opens_at;
		moment.textContent = opening.textContent;
		status.textContent = `The opening was moved. The sale opens in ${words(opensAt - performance.now())}.`;
		wait(opensAt);
	};

	const wait = (until) => {
		askAt = until + Math.random() * OPENING_JITTER_MS;
		timer = setInterval(tick, TICK_MS);
	};

	const tick = () => {
		const now = performance.now();
		if (now < opensAt) shown.textContent = `in ${words(opensAt - now)}`;
		if (now < askAt) return;
		clearInterval(timer);
		ask();
	};

	wait(opensAt);
}

// What every page gets: forms that are sent once and survive a lost connection, and time that runs.

const TICK_MS = 250;
const OFFLINE_PROBE = "/healthz"; // not limited, and costs nothing
const PROBE_TIMEOUT_MS = 6000;
const SENT_FOR_MS = 30_000; // the buyer stopped loading, and no page came
const OPENING_JITTER_MS = 2000;
const ASLEEP_MS = 1500;
const ANNOUNCED_S = [120, 60, 30, 10];

async function isReachable() {
	try {
		return (await fetch(OFFLINE_PROBE, { cache: "no-store", signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })).ok;
	} catch {
		return false;
	}
}

function words(ms) {
	let seconds = Math.max(0, Math.ceil(ms / 1000));
	const parts = [];
	for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
		const number = Math.floor(seconds / size);
		seconds -= number * size;
		if (number) parts.push(`${number} ${unit}${number > 1 ? "s" : ""}`);
	}
	return parts.slice(0, 2).join(" ") || "no time";
}

const status = document.createElement("p");
status.setAttribute("role", "status");
status.className = "unseen";
document.getElementById("main").append(status);

// --- forms

const sent = new Map(); // form to the timer that gives up on it

function release(form) {
	clearTimeout(sent.get(form));
	sent.delete(form);
	for (const button of form.querySelectorAll("[type=submit]")) button.disabled = false;
}

function warn(form, text) {
	let box = form.querySelector("[data-offline]");
	if (!box) {
		box = document.createElement("p");
		box.dataset.offline = "";
		box.className = "mistakes";
		box.setAttribute("role", "alert");
		form.append(box);
	}
	box.textContent = text;
}

document.addEventListener("submit", async (event) => {
	const form = event.target;
	if (event.defaultPrevented || form.method !== "post" || form.matches("[data-event]")) return;
	if (sent.has(form)) return event.preventDefault();
	sent.set(form, setTimeout(() => release(form), SENT_FOR_MS));
	form.querySelector("[data-offline]")?.remove();
	// After the browser has read the form: a disabled button is not part of it.
	setTimeout(() => {
		if (sent.has(form)) for (const button of form.querySelectorAll("[type=submit]")) button.disabled = true;
	});
	if (!form.matches(".pay")) return;
	// A page of the browser's own about the lost connection would take away what was typed.
	event.preventDefault();
	if (await isReachable()) return form.submit();
	release(form);
	warn(form, "We cannot be reached; perhaps you are offline. Nothing was sent and nothing was charged. What you typed is still here: press again in a moment.");
	form.querySelector("[type=submit]").focus();
});

// Back from the next page: the form is as it was left, and may be sent again.
window.addEventListener("pageshow", () => {
	for (const form of document.querySelectorAll("form[method=post]")) release(form);
});

// --- time

// Moments are of performance.now(): it does not follow a clock that is wrong or set anew.
const answeredAt = performance.getEntriesByType("navigation")[0]?.responseStart || 0;

const left = document.getElementById("time-left");
if (left) {
	const shown = left.querySelector(".time");
	const here = left.dataset.address;
	let deadline = answeredAt + Number(left.dataset.expiresInMs);
	let before = (deadline - performance.now()) / 1000;
	let lag = Date.now() - performance.now();
	let asking = false;
	for (const outdated of left.querySelectorAll("[data-without-script]")) outdated.hidden = true;

	const over = async () => {
		shown.textContent = "no time";
		status.textContent = "The time for these seats is over.";
		// A payment that is under way is not ended by the clock: its answer is coming.
		if (sent.size || asking) return;
		asking = true;
		if (await isReachable()) return location.replace(here);
		warn(left, "The time for these seats is over, and we cannot be reached. This page goes on by itself.");
		setTimeout(() => (asking = false), 3000);
	};

	// Some computers stop this clock while they sleep. The server knows what is left.
	const askAgain = async () => {
		try {
			const answer = await fetch(here, { headers: { Accept: "text/html" }, cache: "no-store" });
			const page = new DOMParser().parseFromString(await answer.text(), "text/html");
			const now = page.getElementById("time-left");
			if (now) deadline = performance.now() + Number(now.dataset.expiresInMs);
			else if (!sent.size) location.replace(here);
		} catch {
			// No connection: when it comes back, the end of the time asks.
		}
	};

	const tick = () => {
		const drift = Date.now() - performance.now() - lag;
		lag += drift;
		if (drift > ASLEEP_MS) askAgain();
		const ms = deadline - performance.now();
		if (ms <= 0) return over();
		if (shown.textContent !== words(ms)) shown.textContent = words(ms);
		const passed = ANNOUNCED_S.find((s) => before > s && ms / 1000 <= s);
		before = ms / 1000;
		if (passed) status.textContent = `${words(passed * 1000)} left to pay.`;
	};
	setInterval(tick, TICK_MS);
	tick();
	window.addEventListener("pageshow", (event) => event.persisted && askAgain());
}

const sale = document.querySelector("[data-opens-in-ms]");
if (sale) {
	const opensAt = answeredAt + Number(sale.dataset.opensInMs);
	const shown = sale.querySelector("[data-opens]");
	// Nothing is loaded again when the sale opens: the forms are good already.
	const openAt = opensAt + Math.random() * OPENING_JITTER_MS;
	const timer = setInterval(() => {
		const now = performance.now();
		if (now < opensAt) shown.textContent = `in ${words(opensAt - now)}`;
		if (now < openAt) return;
		clearInterval(timer);
		sale.textContent = "On sale now.";
		status.textContent = "The sale is open.";
	}, TICK_MS);
}

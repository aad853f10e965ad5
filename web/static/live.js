// Polls the server for the seats: less often while the page is hidden or the sale closed.

import { jitter, waitMs, within } from "./asking.js";

const EVERY_MS = 2000;
const JITTER_MS = 800; // spreads the requests of pages that were loaded at the same moment
const CLOSED_MS = 15_000;
const HIDDEN_MS = 20_000;
const HIDDEN_STOP_MS = 5 * 60_000;
const TIMEOUT_MS = 8000;

// Calls `onChange` with the body of GET /api/events/{event}/seats whenever it changed; `revision` is the
// one that the page shows. `opensAt` is a time of performance.now().
export function follow(address, revision, onChange, opensAt) {
	// The page shows the seats as they were at time 0, when its loading began, or a little later.
	let [failures, answeredAt, tag] = [0, 0, `"${revision}"`];
	let timer, hiddenAt, asking, stopped;

	function later(ms) {
		clearTimeout(timer);
		timer = setTimeout(ask, ms);
	}

	const hiddenNow = () => (document.hidden ? performance.now() : Infinity);

	function visibility() {
		hiddenAt = hiddenNow();
		if (!document.hidden) later(asking ? EVERY_MS : 0);
	}

	async function ask() {
		if (asking || stopped || performance.now() - hiddenAt > HIDDEN_STOP_MS) return;
		asking = true;
		let answer, news;
		try {
			news = await within(TIMEOUT_MS, async (signal) => {
				answer = await fetch(address, {
					// nginx's answer of this second will do: it does not count against this address's limit.
					headers: { "Cache-Control": "max-age=1", "If-None-Match": tag },
					// Otherwise the browser would answer a 304 from its own cache, as a 200.
					cache: "no-store",
					credentials: "omit",
					signal,
				});
				if (answer.status !== 200) return null;
				const body = await answer.json();
				if (typeof body.seats !== "string") throw new Error("no seats");
				return body;
			});
		} catch {
			// No answer, a part of one, or not the server's: the login page of a hotel's network.
			answer = null;
		}
		asking = false;
		if (answer?.status !== 200 && answer?.status !== 304) return later(waitMs(failures++, answer));
		failures = 0;
		answeredAt = performance.now();
		later(usualMs() + jitter(JITTER_MS));
		if (!news) return;
		tag = answer.headers.get("ETag");
		onChange(news);
	}

	function usualMs() {
		if (document.hidden) return HIDDEN_MS;
		const opensIn = opensAt - performance.now();
		return opensIn > 0 ? Math.min(CLOSED_MS, opensIn + EVERY_MS) : EVERY_MS;
	}

	document.addEventListener("visibilitychange", visibility);
	window.addEventListener("online", () => later(jitter(1000)));
	hiddenAt = hiddenNow();
	later(Math.max(0, usualMs() - performance.now()) + jitter(JITTER_MS));
	return {
		stop() {
			stopped = true;
		},
		start() {
			stopped = false;
			later(0);
		},
		ageMs: () => performance.now() - answeredAt,
	};
}

// The seats as the server has them now: asks again and again, politely.

import { jitter, waitMs, within } from "./asking.js";

const EVERY_MS = 2000;
const JITTER_MS = 800; // or all who were let in at the same moment would ask at the same moment
const CLOSED_MS = 15_000;
const HIDDEN_MS = 20_000;
const HIDDEN_STOP_MS = 5 * 60_000;
const TIMEOUT_MS = 8000;

// `heard` gets {revision, seats} when they changed since `revision`, which came with the page.
// `opensAt` is a moment of performance.now().
export function follow(address, revision, heard, opensAt) {
	// The page was made at 0, or a little later.
	let [failures, heardAt, tag] = [0, 0, `"${revision}"`];
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
					// What nginx has kept of this second will do: it costs nobody behind this address a request.
					headers: { "Cache-Control": "max-age=1", "If-None-Match": tag },
					// Or the browser would turn a 304 into the whole map again.
					cache: "no-store",
					credentials: "omit",
					signal,
				});
				if (answer.status !== 200) return null;
				const told = await answer.json();
				if (typeof told.seats !== "string") throw new Error("no seats");
				return told;
			});
		} catch {
			// No answer, not all of it, or somebody else's: the page of a hotel's network.
			answer = null;
		}
		asking = false;
		if (answer?.status !== 200 && answer?.status !== 304) return later(waitMs(failures++, answer));
		failures = 0;
		heardAt = performance.now();
		later(usualMs() + jitter(JITTER_MS));
		if (!news) return;
		tag = answer.headers.get("ETag");
		heard(news);
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
		ageMs: () => performance.now() - heardAt,
	};
}

// The seats as the server has them now: asks again and again, politely.

const EVERY_MS = 2000;
const JITTER_MS = 800; // or all who were let in at the same moment would ask at the same moment
const CLOSED_MS = 15_000;
const HIDDEN_MS = 20_000;
const HIDDEN_STOP_MS = 5 * 60_000;
const TIMEOUT_MS = 8000;
const LONGEST_WAIT_MS = 30_000;

const jitter = (most) => Math.random() * most;

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
		// No answer, or not all of it, is one that names no time to wait.
		const wait = await answered().catch(() => 0);
		asking = false;
		later((wait || Math.min(LONGEST_WAIT_MS, EVERY_MS * 2 ** failures++)) + jitter(JITTER_MS));
	}

	// Returns how long to wait then.
	async function answered() {
		const answer = await fetch(address, {
			// What nginx has kept of this second will do: it costs nobody behind this address a request.
			headers: { "Cache-Control": "max-age=1", "If-None-Match": tag },
			// Or the browser would turn a 304 into the whole map again.
			cache: "no-store",
			credentials: "omit",
			signal: AbortSignal.timeout(TIMEOUT_MS),
		});
		if (answer.status === 200) {
			heard(await answer.json());
			tag = answer.headers.get("ETag");
		} else if (answer.status !== 304) {
			return 1000 * Number(answer.headers.get("Retry-After")) * (1 + jitter(0.5));
		}
		failures = 0;
		heardAt = performance.now();
		return pause();
	}

	function pause() {
		if (document.hidden) return HIDDEN_MS;
		const opensIn = opensAt - performance.now();
		return opensIn > 0 ? Math.min(CLOSED_MS, opensIn + EVERY_MS) : EVERY_MS;
	}

	document.addEventListener("visibilitychange", visibility);
	window.addEventListener("online", () => later(jitter(1000)));
	hiddenAt = hiddenNow();
	later(Math.max(0, pause() - performance.now()) + jitter(JITTER_MS));
	return { ask, stop: () => (stopped = true), ageMs: () => performance.now() - heardAt };
}

// The seats as the server has them now: asks again and again, politely.

const EVERY_MS = 2000;
const JITTER_MS = 800; // or all who were let in at the same moment would ask at the same moment
const CLOSED_MS = 15_000;
const HIDDEN_MS = 20_000;
const HIDDEN_STOP_MS = 5 * 60_000;
const TIMEOUT_MS = 8000;
const LONGEST_WAIT_MS = 30_000;
export const OLD_MS = 6000;

export const jitter = (most) => Math.random() * most;

export class Live {
	// `heard` gets {revision, seats} when they changed. `opensAt` is a moment of performance.now().
	// `first` is done when the first of them was heard.
	constructor(address, heard, opensAt = 0) {
		Object.assign(this, { address, heard, opensAt, failures: 0, heardAt: -Infinity });
		this.first = new Promise((resolve) => (this.heardFirst = resolve));
		document.addEventListener("visibilitychange", () => this.#visibility());
		window.addEventListener("online", () => this.#again(jitter(1000)));
		this.#visibility();
	}

	stop() {
		this.stopped = true;
		clearTimeout(this.timer);
	}

	get ageMs() {
		return performance.now() - this.heardAt;
	}

	#visibility() {
		this.hiddenAt = document.hidden ? performance.now() : undefined;
		if (!document.hidden) this.#again(this.asking ? EVERY_MS : 0);
	}

	#again(ms) {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.ask(), ms);
	}

	async ask() {
		if (this.asking || this.stopped) return;
		if (document.hidden && performance.now() - this.hiddenAt > HIDDEN_STOP_MS) return;
		this.asking = true;
		clearTimeout(this.timer);
		let wait;
		try {
			wait = await this.#asked();
		} catch {
			// No answer, or not all of it.
			wait = Math.min(LONGEST_WAIT_MS, EVERY_MS * 2 ** this.failures++);
		}
		this.asking = false;
		this.#again(wait + jitter(JITTER_MS));
	}

	// Returns how long to wait then. Raises when there was no answer.
	async #asked() {
		const answer = await fetch(this.address, {
			headers: this.tag ? { "If-None-Match": this.tag } : {},
			// Or the browser would turn a 304 into the whole map again.
			cache: "no-store",
			credentials: "omit",
			signal: AbortSignal.timeout(TIMEOUT_MS),
		});
		if (answer.status !== 304 && !answer.ok) {
			const named = 1000 * Number(answer.headers.get("Retry-After"));
			const wait = named || Math.min(LONGEST_WAIT_MS, EVERY_MS * 2 ** this.failures++);
			return wait + jitter(wait / 2);
		}
		if (answer.status === 200) {
			this.heard(await answer.json());
			this.tag = answer.headers.get("ETag");
			this.heardFirst();
		}
		this.failures = 0;
		this.heardAt = performance.now();
		if (document.hidden) return HIDDEN_MS;
		const opensIn = this.opensAt - performance.now();
		return opensIn > 0 ? Math.min(CLOSED_MS, opensIn + EVERY_MS) : EVERY_MS;
	}
}

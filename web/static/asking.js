// Requests to the server. Each has a time limit, so that no content filter or network can hang it.

const LONGEST_WAIT_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 10 * 60_000; // a timer of more than 24 days would fire at once
const FIRST_WAIT_MS = 2000;
const JITTER_MS = 800; // spreads the retries of browsers that were refused at the same moment
const TIMEOUT_MS = 8000;
const MOST_TRIES = 30; // a quarter of an hour

export const jitter = (most) => Math.random() * most;
export const pause = (ms) => new Promise((over) => setTimeout(over, ms));

// The server's HTML as a document that can be searched.
export const parsed = (html) => new DOMParser().parseFromString(html, "text/html");

// Resolves as `work` does, or rejects after `ms`, when the signal of `work` is aborted. With a timer:
// AbortSignal.timeout is too new, and what replaces fetch in some browsers ignores the signal.
export async function within(ms, work) {
	const stop = window.AbortController && new AbortController();
	let timer;
	const late = new Promise((_, fail) => {
		timer = setTimeout(() => {
			fail(new Error(`no answer in ${ms} ms`));
			stop?.abort();
		}, ms);
	});
	try {
		return await Promise.race([work(stop?.signal), late]);
	} finally {
		clearTimeout(timer);
	}
}

// How long to wait after so many failures in a row. The Retry-After of the last `answer` wins.
export function waitMs(failures, answer) {
	const retryAfter = 1000 * Number(answer?.headers.get("Retry-After"));
	const wait = retryAfter > 0 ? retryAfter * (1 + jitter(0.5)) : FIRST_WAIT_MS * 2 ** failures;
	return Math.min(wait, retryAfter > 0 ? LONGEST_RETRY_AFTER_MS : LONGEST_WAIT_MS) + jitter(JITTER_MS);
}

// The JSON at this address, retried while there is a problem. Rejects on a 4xx other than 429.
export async function persistently(address) {
	for (let failures = 0; failures < MOST_TRIES; failures++) {
		let answer;
		try {
			return await within(TIMEOUT_MS, async (signal) => {
				answer = await fetch(address, { credentials: "omit", signal });
				if (answer.ok) return answer.json();
				throw new Error(`${address} answered ${answer.status}`);
			});
		} catch (failure) {
			const final = answer && answer.status > 399 && answer.status < 500;
			if (final && answer.status !== 429) throw failure;
		}
		await pause(waitMs(failures, answer));
	}
	throw new Error(`${address} was asked ${MOST_TRIES} times`);
}

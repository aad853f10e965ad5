// Questions to the server. None waits without end, whatever a filter or the network does with it.

const LONGEST_WAIT_MS = 30_000;
const LONGEST_TOLD_MS = 10 * 60_000; // a timer of more than 24 days would end at once
const FIRST_WAIT_MS = 2000;
const JITTER_MS = 800; // or all who were refused at the same moment would ask at the same moment
const TIMEOUT_MS = 8000;
const MOST_TRIES = 30; // a quarter of an hour

export const jitter = (most) => Math.random() * most;
export const pause = (ms) => new Promise((over) => setTimeout(over, ms));

// Text of the server's as a document, to look something up in it.
export const parsed = (html) => new DOMParser().parseFromString(html, "text/html");

// What `work` comes to, or a failure after `ms`. `work` gets the signal to stop. A timer of our own:
// AbortSignal.timeout is too new, and what is not our browser's fetch may not heed a signal. Nor
// is there always an AbortController: then nothing stops the work, and it is waited for no longer.
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

// How long to wait after so many failures in a row; the last `answer` may say so itself.
export function waitMs(failures, answer) {
	const told = 1000 * Number(answer?.headers.get("Retry-After"));
	const wait = told > 0 ? told * (1 + jitter(0.5)) : FIRST_WAIT_MS * 2 ** failures;
	return Math.min(wait, told > 0 ? LONGEST_TOLD_MS : LONGEST_WAIT_MS) + jitter(JITTER_MS);
}

// The JSON at this address, asked for again while the server or the network is in trouble. Fails
// when the answer is that there is none.
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

// What a gate remembers of one event: whom it has let in, what it has still to report, and conflicts.
// In localStorage, each thing under a key of its own, so that a scan writes a few hundred bytes however
// many there were before; in memory alone where the browser allows no storage.

const fallback = new Map();

function stored(key, value) {
	try {
		if (value === undefined) return localStorage.getItem(key);
		if (value === null) localStorage.removeItem(key);
		else localStorage.setItem(key, value);
		return value;
	} catch {
		if (value === undefined) return fallback.get(key) ?? null;
		if (value === null) fallback.delete(key);
		else fallback.set(key, value);
		return value;
	}
}

function keysOf(prefix) {
	let keys = [...fallback.keys()];
	try {
		keys = [...keys, ...Object.keys(localStorage)];
	} catch {
		// No storage.
	}
	return keys.filter((key) => key.startsWith(prefix));
}

const json = (text) => JSON.parse(text ?? "null");

export class DoorMemory {
	constructor(event) {
		this.prefix = `door:${event}:`;
	}

	get gate() {
		return stored(`${this.prefix}gate`) ?? "";
	}

	set gate(name) {
		stored(`${this.prefix}gate`, name);
	}

	// {atMs, gate}, or null for a seat of which this gate does not know that it was let in.
	admission(booking, seat) {
		return json(stored(`${this.prefix}in:${booking}:${seat}`));
	}

	remember(booking, seats, atMs, gate) {
		for (const seat of seats) stored(`${this.prefix}in:${booking}:${seat}`, JSON.stringify({ atMs, gate }));
	}

	// A scan that was decided without the server: {code, gate, seats, atMs, key}.
	report(scan) {
		stored(`${this.prefix}report:${scan.key}`, JSON.stringify(scan));
	}

	reported(scan) {
		stored(`${this.prefix}report:${scan.key}`, null);
	}

	get reports() {
		const scans = keysOf(`${this.prefix}report:`).map((key) => json(stored(key)));
		return scans.sort((one, other) => one.atMs - other.atMs);
	}

	conflict(key, text) {
		stored(`${this.prefix}conflict:${key}`, text);
	}

	get conflicts() {
		const prefix = `${this.prefix}conflict:`;
		return keysOf(prefix).map((key) => [key.slice(prefix.length), stored(key)]);
	}
}

// A shop's own front end, on another origin: buys a seat by the API alone. What it gives back is what
// a script can read.
async ({ shop, event }) => {
	const base = `${shop}/api/events/${event}`;
	const read = async (answer) => ({
		status: answer.status,
		body: answer.status === 204 ? null : await answer.json(),
		headers: Object.fromEntries(answer.headers),
	});
	const call = async (path, options = {}) => read(await fetch(`${base}${path}`, options));
	const json = (body) => ({ body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
	const pause = () => new Promise((later) => setTimeout(later, 1100));
	const told = {};

	told.event = await call("");
	told.definition = await call(`/versions/${told.event.body.version}`);
	told.map = await call("/seats", { headers: { "Cache-Control": "max-age=1" } });
	const known = { "If-None-Match": told.event.headers.etag };
	told.unchanged = { status: (await fetch(base, { headers: known, cache: "no-store" })).status };

	told.hold = await call("/holds", { method: "POST", ...json({ seats: ["stalls-A-1"] }) });
	told.taken = await call("/seats/stalls-A-1/hold", { method: "POST" });
	told.taken_again = await call("/seats/stalls-A-1/hold", { method: "POST" });
	const headers = { Authorization: `Bearer ${told.hold.body.hold_token}`, "Content-Type": "application/json" };
	const hold = `/holds/${told.hold.body.hold_id}`;
	await pause();
	told.extended = await call(`${hold}/extend`, { method: "POST", headers });

	const pay = { method: "POST", headers: { ...headers, "Idempotency-Key": "front-end" } };
	const buyer = { payment_method: "pm_card_visa", email: "ada@example.org", name: "Ada" };
	told.invalid = await call(`${hold}/pay`, { ...pay, body: "{}" });
	told.receipt = await call(`${hold}/pay`, { ...pay, body: JSON.stringify(buyer) });
	told.replayed = await call(`${hold}/pay`, { ...pay, body: JSON.stringify(buyer) });
	told.booking = await read(await fetch(shop + told.receipt.headers.location, { headers }));

	await pause();
	const other = await call("/sections/stalls/best/2/hold", { method: "POST" });
	const token = { Authorization: `Bearer ${other.body.hold_token}` };
	told.released = await call(`/holds/${other.body.hold_id}`, { method: "DELETE", headers: token });
	told.too_large = await call("/holds", { method: "POST", body: "x".repeat(70000) });
	const flood = await Promise.all([...Array(12)].map(() => call(`/nothing`)));
	told.limited = flood.find(({ status }) => status === 429);
	return told;
}

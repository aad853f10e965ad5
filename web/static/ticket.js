// A ticket's code, read and verified without a connection. The rules are those of
// web/signing/ticket_codes.py.

const CODE = /^T1\.([\w-]+)\.([a-z0-9-]+)\.([A-Za-z0-9,-]+)(?:\.[\w-]+)*\.([\w-]{86})$/;
const SIGNATURE_BYTES = 64;

function bytesOf(base64url) {
	const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
	return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

// A number alone is in the row of the seat before it.
function seatsOf(text) {
	let row = "";
	return text.split(",").map((seat) => {
		const end = seat.lastIndexOf("-");
		if (end > -1) row = seat.slice(0, end);
		return `${row}-${seat.slice(end + 1)}`;
	});
}

const ED25519 = { name: "Ed25519" };
const imported = (key) => crypto.subtle.importKey("raw", key, ED25519, false, ["verify"]);

async function verifyNatively(signature, message, key) {
	return crypto.subtle.verify(ED25519, await imported(key), signature, message);
}

// With the browser's own WebCrypto, or with a library where that has no Ed25519. Decided at once: without
// a connection the library could not be loaded.
const verify = imported(bytesOf("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).then( // of RFC 8032, 7.1
	() => verifyNatively,
	async () => (await import("./ed25519.js")).verifyAsync,
);

async function hasSigned(key, signature, message) {
	const verifies = await verify;
	return verifies(signature, message, key).catch(() => false);
}

// Whether only the server can read it: tickets of former releases are signed with a secret.
export const isOfFormerRelease = (code) => /^\.?[\w-]+\.[\w-]{20,}$/.test(code);

// {booking, event, seats}, or null for what none of the keys has signed.
export async function readTicket(code, keys) {
	const found = CODE.exec(code);
	if (!found) return null;
	const [, booking, event, seats, signed] = found;
	const signature = bytesOf(signed);
	if (signature.length !== SIGNATURE_BYTES) return null;
	const message = new TextEncoder().encode(code.slice(0, code.lastIndexOf(".")));
	for (const key of keys) {
		if (await hasSigned(bytesOf(key), signature, message)) return { booking, event, seats: seatsOf(seats) };
	}
	return null;
}

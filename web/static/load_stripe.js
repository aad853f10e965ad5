// Stripe's script. It has to come from Stripe, so that this site never handles a card number. It is added
// from here: as a <script> of the page it would hold this one up while it loads.

const SCRIPT = "https://js.stripe.com/endive/stripe.js"; // the release of the API that the server uses

let tries = 0;

// The object for this publishable key. Rejects when the script cannot be loaded; can be called again then.
export async function loadStripe(key) {
	if (!window.Stripe) {
		await new Promise((loaded, failed) => {
			const script = document.createElement("script");
			// Another address each time: otherwise a browser would wait for the first request, which hangs.
			script.src = tries++ ? `${SCRIPT}?try=${tries}` : SCRIPT;
			script.onload = loaded;
			script.onerror = () => failed(new Error(`${script.src} could not be loaded`));
			document.head.appendChild(script);
		});
	}
	// Where a content filter or a network sent something else instead, this throws.
	return window.Stripe(key);
}

// The card field: Stripe Elements, loaded from Stripe, so that this site never handles a card number.
// Its script is added from here: as a <script> of the page it would hold this one up while it loads.

import { within } from "./asking.js";

const SCRIPT = "https://js.stripe.com/v3/";
const SHOWN_MS = 10_000; // when the buyer is told that the field is missing; it may still come later
const ANSWER_MS = 20_000;

const form = document.querySelector(".pay");
const place = form.querySelector("[data-key]");
const wrong = document.getElementById("card-wrong");
const again = document.getElementById("card-again");
let tries = 0;
let stripe, card, timer;

function load() {
	tell("");
	again.hidden = true;
	clearTimeout(timer);
	timer = setTimeout(missing, SHOWN_MS);
	if (card) {
		// The script has been loaded, but its frame has not.
		card.unmount();
		return card.mount(place);
	}
	const script = document.createElement("script");
	// Another address each time: otherwise a browser would wait for the first request, which hangs.
	script.src = tries++ ? `${SCRIPT}?try=${tries}` : SCRIPT;
	script.onload = show;
	script.onerror = missing;
	document.head.appendChild(script);
	place.textContent = ""; // the text for browsers in which this script does not run
}

function show() {
	if (card) return;
	try {
		stripe = window.Stripe(place.dataset.key);
		card = stripe.elements().create("card", { hidePostalCode: true });
		card.on("ready", shown);
		card.on("change", ({ error }) => tell(error?.message || ""));
		card.mount(place);
	} catch (failure) {
		// Not Stripe's script, but something that a content filter or a network sent instead.
		console.error(failure);
		card = null;
		return missing();
	}
	dress();
}

function shown() {
	clearTimeout(timer);
	if (again.hidden) return;
	again.hidden = true;
	tell("");
}

function missing() {
	clearTimeout(timer);
	again.hidden = false;
	tell("Stripe’s field for the card could not be loaded. Nothing was charged, and what you typed stays. If a filter or an extension of your browser blocks js.stripe.com, allow it for this page; then load the field again.");
}

function tell(text) {
	wrong.textContent = text;
}

// The field is a frame of another site, to which our style sheet does not apply.
function dress() {
	const { color, fontFamily, fontSize } = getComputedStyle(form.elements.name);
	card?.update({ style: { base: { color, iconColor: color, fontFamily, fontSize } } });
}

// Called before the form is sent; true when the card has been added to it. The other fields come
// first: after a refusal by the server the card would have to be typed again.
async function prepare() {
	if (form.reportValidity?.() === false) return false;
	if (!card) {
		if (again.hidden) tell("Stripe’s field for the card is still being loaded. Nothing was charged; one moment, please.");
		else again.focus();
		return false;
	}
	const { name, email, payment_method } = form.elements;
	const asked = { type: "card", card, billing_details: { name: name.value, email: email.value } };
	try {
		const { paymentMethod, error } = await within(ANSWER_MS, () => stripe.createPaymentMethod(asked));
		if (!error) {
			payment_method.value = paymentMethod.id;
			return true;
		}
		tell(`${error.message || "Stripe did not accept this card."} Nothing was charged.`);
		card.focus();
	} catch (failure) {
		console.error(failure);
		tell("Stripe has not answered about this card. Nothing was charged. Press again in a moment.");
	}
	return false;
}

// For when pages.js has not run. Its listener, on the document, is called before this one.
let preparing = false;
async function send(event) {
	if (event.target !== form || event.defaultPrevented) return;
	event.preventDefault();
	if (preparing) return;
	preparing = true;
	const ready = await prepare();
	preparing = false;
	if (ready) form.submit();
}

// First, so that nothing below can keep the field from loading.
load();
again.onclick = load;
form.prepare = prepare;
window.addEventListener("submit", send);
const dark = window.matchMedia?.("(prefers-color-scheme: dark)");
if (dark) dark.onchange = dress;

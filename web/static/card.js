// The Payment Element: cards, Apple Pay, Google Pay and Link in frames of Stripe's.
// https://docs.stripe.com/payments/accept-a-payment-deferred

import { within } from "./asking.js";
import { loadStripe } from "./load_stripe.js";

const BUYER = "buyer"; // in the session storage
const SHOWN_MS = 10_000; // when the buyer is told that the element is missing; it may still come later
const ANSWER_MS = 20_000;

const form = document.querySelector(".pay");
const place = form.querySelector("[data-key]");
const wrong = document.getElementById("card-wrong");
const again = document.getElementById("card-again");
const dark = window.matchMedia?.("(prefers-color-scheme: dark)");
let stripe, elements, element, timer;
let isReady = false;
let isAsking = false;

async function load() {
	tell("");
	again.hidden = true;
	isReady = false;
	element?.destroy(); // the script has been loaded, but its frame has not
	element = null;
	clearTimeout(timer);
	timer = setTimeout(missing, SHOWN_MS);
	const loading = loadStripe(place.dataset.key);
	place.textContent = ""; // the text for browsers in which this script does not run
	try {
		show(await loading);
	} catch (failure) {
		console.error(failure);
		// An earlier try may fail after a later one has succeeded.
		if (!element) missing();
	}
}

function show(loaded) {
	if (element) return;
	const { amount, currency } = place.dataset;
	stripe = loaded;
	// What the server asks Stripe for later has to agree with these: see web/adapters/stripe/gateway.py.
	elements = stripe.elements({
		mode: "payment",
		amount: Number(amount),
		currency,
		captureMethod: "manual",
		allowedPaymentMethodTypes: ["card", "link"],
		appearance: appearance(),
	});
	const made = elements.create("payment", {
		fields: { billingDetails: { name: "never", email: "never", address: "if_required" } },
		defaultValues: { billingDetails: buyer() },
	});
	made.on("ready", shown);
	made.on("change", () => tell(""));
	made.on("loaderror", ({ error }) => {
		console.error(error);
		missing();
	});
	made.mount(place);
	element = made;
}

function shown() {
	clearTimeout(timer);
	isReady = true;
	if (again.hidden) return;
	again.hidden = true;
	tell("");
}

function missing() {
	clearTimeout(timer);
	isReady = false;
	again.hidden = false;
	tell("Stripe’s payment form could not be loaded. Nothing was charged, and what you typed stays. If a filter or an extension of your browser blocks js.stripe.com, allow it for this page; then load the form again.");
}

function tell(text) {
	wrong.textContent = text;
}

// Asked for in our own form. Stripe gets both with the payment, and Link knows its members by the address.
function buyer() {
	const { name, email } = form.elements;
	return { name: name.value, email: email.value };
}

// For the form that follows when this card is refused after a question of its bank: it comes by a redirect.
function keepBuyer() {
	try {
		sessionStorage.setItem(BUYER, JSON.stringify(buyer()));
	} catch {
		// No storage: then both have to be typed again.
	}
}

function putBuyerBack() {
	try {
		const kept = JSON.parse(sessionStorage.getItem(BUYER)) || {};
		for (const [name, text] of Object.entries(kept)) form.elements[name].value ||= text;
	} catch (failure) {
		console.error(failure);
	}
}

// Our style sheet does not apply in a frame of another site.
function appearance() {
	if (!window.getComputedStyle) return {};
	const style = getComputedStyle(form);
	const ours = (name) => style.getPropertyValue(name).trim();
	return {
		theme: dark?.matches ? "night" : "stripe",
		variables: {
			colorPrimary: ours("--accent"),
			colorBackground: ours("--surface"),
			colorText: ours("--ink"),
			colorTextSecondary: ours("--quiet"),
			colorTextPlaceholder: ours("--quiet"),
			colorDanger: ours("--bad"),
			fontFamily: ours("--sans"),
			fontSizeBase: style.fontSize,
			borderRadius: ours("--radius"),
		},
		rules: { ".Input": { borderColor: ours("--edge"), boxShadow: "none" } },
	};
}

// Called before the form is sent; true when a token for the payment has been added to it. The other fields
// come first: after a refusal by the server the card would have to be typed again.
async function prepare() {
	if (form.reportValidity?.() === false) return false;
	if (!isReady) {
		if (again.hidden) tell("Stripe’s payment form is still being loaded. Nothing was charged; one moment, please.");
		else again.focus();
		return false;
	}
	if (isAsking) {
		unanswered();
		return false;
	}
	isAsking = true;
	const patience = setTimeout(unanswered, ANSWER_MS);
	try {
		// Nothing may be waited for before this: a wallet opens its window only for a press of the buyer. It
		// has no time limit, because the buyer is in that window.
		let { error } = await elements.submit();
		clearTimeout(patience);
		if (!error) {
			const asked = { elements, params: { payment_method_data: { billing_details: buyer() } } };
			const answer = await within(ANSWER_MS, () => stripe.createConfirmationToken(asked));
			error = answer.error;
			if (!error) {
				form.elements.confirmation_token.value = answer.confirmationToken.id;
				keepBuyer();
				form.elements.in_page.value = "1"; // Stripe.js can show the question of a bank: see payment.js
				return true;
			}
		}
		tell(`${error.message || "Stripe did not accept this card."} Nothing was charged.`);
		element.focus();
	} catch (failure) {
		console.error(failure);
		tell("Stripe has not answered about this payment. Nothing was charged. Press again in a moment.");
	} finally {
		clearTimeout(patience);
		isAsking = false;
	}
	return false;
}

function unanswered() {
	tell("Stripe has not answered yet. Nothing was charged. If a window for paying is open, go on there; otherwise load this page again.");
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

// First, so that nothing below can keep the element from loading.
load();
putBuyerBack();
again.onclick = load;
form.prepare = prepare;
window.addEventListener("submit", send);
form.addEventListener("change", () => element?.update({ defaultValues: { billingDetails: buyer() } }));
if (dark) dark.onchange = () => element && elements.update({ appearance: appearance() });

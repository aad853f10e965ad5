// The page of a payment under way: shows what becomes of it, and has Stripe.js show the bank's question over
// it. https://docs.stripe.com/payments/finalize-payments-on-the-server#next-actions

import { jitter, parsed, pause, within } from "./asking.js";
import { loadStripe } from "./load_stripe.js";

const TIMEOUT_MS = 8000;
const LOOK_MS = { paying: 4000, "at the bank": 15_000 }; // the buyer at the bank comes back by Stripe.js
const JITTER_MS = 1000;
const LOADED_MS = 10_000; // when the buyer is told that Stripe's script is missing; it may still come later

const watched = document.querySelector("[data-payment]");
const { payment: state, address: here, back, key, clientSecret } = watched.dataset;
const wrong = document.getElementById("bank-wrong");
const again = document.getElementById("bank-again");

const asked = (address, options) => within(TIMEOUT_MS, (signal) => fetch(address, { cache: "no-store", signal, ...options }));

// Goes on when the payment has, perhaps in another tab or in the bank's app.
async function look() {
	const answer = await asked(here, { headers: { Accept: "text/html" } });
	if (answer.status === 429 || answer.status > 499) return;
	const now = parsed(await answer.text()).querySelector("[data-payment]");
	if (now?.dataset.payment !== state) location.replace(here);
}

async function watch() {
	for (;;) {
		await pause(LOOK_MS[state] + jitter(JITTER_MS));
		if (!document.hidden) await look().catch(console.error);
	}
}

// The server asks Stripe what became of it.
async function check() {
	await asked(back, { redirect: "manual" }).then(look).catch(console.error);
}

function tell(text) {
	wrong.textContent = text;
	again.hidden = !text;
}

let isAsking = false;
async function ask() {
	tell("");
	const timer = setTimeout(() => tell(MISSING), LOADED_MS);
	let stripe;
	try {
		stripe = await loadStripe(key);
	} catch (failure) {
		console.error(failure);
		if (!isAsking) tell(MISSING);
		return;
	} finally {
		clearTimeout(timer);
	}
	if (isAsking) return; // an earlier try has come after all
	isAsking = true;
	tell("");
	try {
		const { paymentIntent, error } = await stripe.handleNextAction({ clientSecret });
		const intent = paymentIntent || error.payment_intent;
		const isDecided = intent ? intent.status !== "requires_action" : error.code === "payment_intent_authentication_failure";
		// The server asks Stripe what happened, and leads to the receipt or to the form.
		if (isDecided) return location.replace(back);
		console.error(error);
	} catch (failure) {
		// Mostly it was confirmed or canceled meanwhile, in another tab, which the server finds out.
		console.error(failure);
		await check();
	} finally {
		isAsking = false;
	}
	tell("Stripe could not show the question of your bank. Nothing was charged. Try again; or cancel this payment and pay in another way.");
}

const MISSING = "Stripe’s script could not be loaded, so the question of your bank cannot be shown. Nothing was charged. If a filter or an extension of your browser blocks js.stripe.com, allow it for this page and try again; or cancel this payment.";

if (clientSecret) {
	again.onclick = ask;
	ask();
} else if (back) {
	// The buyer comes back from the bank's app, from another tab, or by the Back button.
	document.addEventListener("visibilitychange", () => document.hidden || check());
	window.addEventListener("pageshow", (event) => event.persisted && check());
}
watch();

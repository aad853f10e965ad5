// The field for a card: Stripe's own, from Stripe, so that no number comes near this site.

const form = document.querySelector(".pay");
const place = form.querySelector("[data-key]");
const wrong = document.getElementById("card-wrong");

const stripe = window.Stripe?.(place.dataset.key);
const card = stripe?.elements().create("card", { hidePostalCode: true });

// A frame of another site: it knows our colours only when it is told.
function dress() {
	const { color, fontFamily, fontSize } = getComputedStyle(form.elements.name);
	card.update({ style: { base: { color, iconColor: color, fontFamily, fontSize } } });
}

function refuse(text) {
	wrong.textContent = `${text} Nothing was charged.`;
	card.focus();
	return false;
}

// Of pages.js, before the form is sent. Its own mistakes first: what is typed here does not
// outlive this page.
form.prepare = async () => {
	if (!form.reportValidity()) return false;
	if (!card) return false;
	const { name, email } = form.elements;
	const billing_details = { name: name.value, email: email.value };
	const { paymentMethod, error } = await stripe.createPaymentMethod({ type: "card", card, billing_details });
	if (error) return refuse(error.message);
	form.elements.payment_method.value = paymentMethod.id;
	return true;
};

if (card) {
	card.mount(place);
	card.on("change", ({ error }) => (wrong.textContent = error?.message));
	matchMedia("(prefers-color-scheme: dark)").onchange = dress;
	dress();
} else wrong.textContent = "The field for the card could not be loaded. Nothing was charged. Please load the page again.";

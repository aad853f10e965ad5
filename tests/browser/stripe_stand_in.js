// Stands in for Stripe's script: what TicketS calls of it, with the answers of https://docs.stripe.com/js.
// What goes to Stripe's hosts is answered by stripe_stand_in.py, and the payments are the sandbox's.
(() => {
	const API = "https://api.stripe.com/v1";
	const ELEMENT = "https://js.stripe.com/endive/elements-inner-payment.html";
	const BANK = "https://hooks.stripe.com/3d_secure_2";
	const WALLET = "https://pay.google.com/gp/p/ui/pay";
	const POLL_MS = 100;
	const NOT_CONNECTED = {
		type: "api_connection_error",
		message: "We are experiencing issues connecting to our payments provider.",
	};

	class IntegrationError extends Error {}

	function require(condition, message) {
		if (!condition) throw new IntegrationError(message);
	}

	const encoded = (fields) =>
		Object.entries(fields)
			.map((pair) => pair.map(encodeURIComponent).join("="))
			.join("&");

	// The key goes with the parameters, as in Stripe's script: a header would need a preflight. Without
	// fetch, which some tests take away from the page.
	function call(method, path, fields) {
		const isRead = method === "GET";
		const request = new XMLHttpRequest();
		request.open(method, isRead ? `${API}${path}?${encoded(fields)}` : `${API}${path}`);
		request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
		return new Promise((resolve) => {
			request.onload = () => resolve(JSON.parse(request.responseText));
			request.onerror = () => resolve({ error: NOT_CONNECTED });
			request.send(isRead ? null : encoded(fields));
		});
	}

	const heard = (source, what) =>
		new Promise((resolve) => {
			window.addEventListener("message", function listen({ data, source: from }) {
				if (from !== source || data !== what) return;
				window.removeEventListener("message", listen);
				resolve();
			});
		});

	class PaymentElement {
		constructor(options, group) {
			for (const name of ["name", "email"]) {
				require(options.fields.billingDetails[name] === "never", `${name} would be asked for twice`);
			}
			this.group = group;
			this.options = options;
			this.handlers = {};
			this.card = {};
			window.addEventListener("message", this.listen = ({ source, data }) => {
				if (source === this.frame?.contentWindow) this.hear(data);
			});
		}

		on(event, handler) {
			this.handlers[event] = handler;
			return this;
		}

		mount(place) {
			this.frame = document.createElement("iframe");
			this.frame.src = ELEMENT;
			this.frame.title = "Secure payment input frame";
			this.frame.style.cssText = "border: 0; inline-size: 100%; block-size: 19rem";
			place.appendChild(this.frame);
		}

		hear({ event, card }) {
			if (event === "ready") this.dress();
			if (event === "change") {
				this.card = card;
				this.frame.dataset.heard = card.wallet ? "wallet" : `${card.number} ${card.expiry} ${card.cvc}`;
			}
			this.handlers[event]?.({ elementType: "payment", ...(event === "loaderror" && { error: NOT_CONNECTED }) });
		}

		dress() {
			this.frame.contentWindow.postMessage({ appearance: this.group.options.appearance }, "*");
		}

		update(options) {
			Object.assign(this.options, options);
		}

		focus() {
			this.frame.contentWindow.postMessage({ focus: true }, "*");
		}

		destroy() {
			this.frame?.remove();
			window.removeEventListener("message", this.listen);
		}

		problem() {
			const wrong = (code, message) => ({ type: "validation_error", code, message });
			const { number = "", expiry = "", cvc = "" } = this.card;
			if (number.replace(/ /g, "").length < 15) return wrong("incomplete_number", "Your card number is incomplete.");
			if (!/^\d\d *\/ *\d\d$/.test(expiry)) return wrong("incomplete_expiry", "Your card's expiration date is incomplete.");
			if (cvc.length < 3) return wrong("incomplete_cvc", "Your card's security code is incomplete.");
		}
	}

	class Elements {
		constructor(options) {
			require(options.mode === "payment" && options.captureMethod === "manual", "This is another kind of payment.");
			require(Number.isInteger(options.amount) && options.amount > 0, "amount must be a positive integer.");
			require(/^[a-z]{3}$/.test(options.currency), "currency must be a three-letter code in lowercase.");
			require(String(options.allowedPaymentMethodTypes) === "card,link", "The server allows other types.");
			this.options = options;
		}

		create(type, options) {
			require(type === "payment" && !this.element, "One Payment Element for each Elements.");
			return (this.element = new PaymentElement(options, this));
		}

		update(options) {
			Object.assign(this.options, options);
			this.element.dress();
		}

		async submit() {
			if (this.element.card.wallet) {
				const sheet = window.open(WALLET, "wallet", "width=400,height=600");
				if (!sheet) return { error: { type: "validation_error", message: "The window for paying was blocked." } };
				await heard(sheet, "paid");
				sheet.close();
			} else {
				const error = this.element.problem();
				if (error) return { error };
			}
			this.submitted = true;
			return { selectedPaymentMethod: this.element.card.wallet ? "google_pay" : "card" };
		}
	}

	class Stripe {
		constructor(key) {
			this.key = key;
		}

		elements(options) {
			return (this.made = new Elements(options));
		}

		async createConfirmationToken({ elements, params }) {
			require(elements.submitted, "elements.submit() must be called before stripe.createConfirmationToken().");
			const { name, email } = params.payment_method_data.billing_details;
			require(name && email, "The Payment Element does not ask for name and email: pass them in params.");
			const { wallet, number, expiry, cvc } = elements.element.card;
			const fields = {
				key: this.key,
				"payment_method_data[type]": "card",
				"payment_method_data[billing_details][name]": name,
				"payment_method_data[billing_details][email]": email,
				"payment_method_data[card][number]": wallet ? "4242424242424242" : number,
				"payment_method_data[card][exp_month]": wallet ? "12" : expiry.split("/")[0].trim(),
				"payment_method_data[card][exp_year]": wallet ? "40" : expiry.split("/")[1].trim(),
				"payment_method_data[card][cvc]": wallet ? "123" : cvc,
			};
			const answer = await call("POST", "/confirmation_tokens", fields);
			return answer.error ? answer : { confirmationToken: answer };
		}

		async handleNextAction({ clientSecret }) {
			const path = `/payment_intents/${clientSecret.split("_secret_")[0]}`;
			const read = () => call("GET", path, { key: this.key, client_secret: clientSecret });
			let intent = await read();
			if (intent.error) return intent;
			require(intent.status === "requires_action", "handleNextAction: The PaymentIntent supplied is not in the requires_action state.");
			const { type, redirect_to_url: redirect, use_stripe_sdk: forScript } = intent.next_action;
			if (type === "redirect_to_url") {
				location.assign(redirect.url);
				return new Promise(() => {});
			}
			const dialog = this.challenge(forScript.stripe_js);
			while (intent.status === "requires_action") {
				const closed = await Promise.race([dialog.closed, new Promise((later) => setTimeout(later, POLL_MS))]);
				if (closed) await call("POST", `${path}/fail_challenge`, { key: this.key, client_secret: clientSecret });
				const answer = await read();
				if (!answer.error) intent = answer;
			}
			dialog.remove();
			const error = intent.last_payment_error;
			return error ? { error: { ...error, payment_intent: intent } } : { paymentIntent: intent };
		}

		// Stripe's frame over the page, and the bank's in it.
		challenge(address) {
			const dialog = document.createElement("div");
			dialog.className = "stripe-challenge";
			dialog.style.cssText = "position: fixed; inset: 0; z-index: 2147483647; background: rgba(0, 0, 0, 0.6)";
			const frame = document.createElement("iframe");
			frame.title = "Stripe: your bank";
			frame.src = `${BANK}?${encoded({ address })}`;
			frame.style.cssText = "position: absolute; inset: 10% 25%; inline-size: 50%; block-size: 80%; border: 0; background: #fff";
			dialog.appendChild(frame);
			document.body.appendChild(dialog);
			frame.focus();
			dialog.closed = heard(frame.contentWindow, "closed").then(() => true);
			return dialog;
		}
	}

	window.Stripe = (key) => (window.stripe = new Stripe(key));
	window.Stripe.version = "endive";
})();

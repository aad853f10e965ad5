// Runs before the shop's own scripts, and keeps what goes wrong on a page until a test asks.

const keep = (what) => { localStorage.errors = `${localStorage.errors || ""}${location.pathname}: ${what}\n`; };

// In the capturing phase it hears of what could not be loaded, too.
addEventListener("error", (event) => keep(event.message || `${event.target.src || event.target.href} was not loaded`), true);
addEventListener("unhandledrejection", (event) => keep(event.reason));
addEventListener("securitypolicyviolation", (event) => keep(`${event.effectiveDirective} forbids ${event.blockedURI}`));

const { error } = console;
console.error = (...told) => {
	keep(told.join(" "));
	error(...told);
};

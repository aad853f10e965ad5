// Prices as the server writes them, which sends the format along (web/pages/locales.py): browsers have
// other digits and symbols for some currencies.

export const priceWriter =
	({ before, after, group, decimal, digits }) =>
	(minor) => {
		if (!minor) return "free of charge";
		const text = String(minor).padStart(digits + 1, "0");
		const point = text.length - digits;
		const whole = text.slice(0, point).replace(/\B(?=(\d{3})+$)/g, group);
		const part = text.slice(point);
		return before + whole + (Number(part) ? decimal + part : "") + after;
	};

// Prices and numbers in the format that the server sends (web/http/locales.py). Not Intl: browsers have
// other digits and symbols for some currencies, and some write 4500 for 4.500.

export const grouped = (whole, group) => String(whole).replace(/\B(?=(\d{3})+$)/g, group);

export const priceWriter =
	({ before, after, group, decimal, digits }) =>
	(minor) => {
		if (!minor) return "free of charge";
		const text = String(minor).padStart(digits + 1, "0");
		const point = text.length - digits;
		const whole = grouped(text.slice(0, point), group);
		const part = text.slice(point);
		return before + whole + (Number(part) ? decimal + part : "") + after;
	};

// An ESLint rule for what eslint-plugin-compat does not see: statics such as `AbortSignal.timeout`, and
// members of objects whose type a linter cannot know, such as `element.ariaLabel`. It reports any name
// that is a member of a web interface but of none in the oldest supported browsers. So a name that some
// interface has had for long (`close`, `open`) is not reported.

import { createRequire } from "node:module";

const { api, javascript } = createRequire(import.meta.url)("@mdn/browser-compat-data");

// The interfaces that the scripts of the pages use. With all of the web's, half of our own names would be
// reported.
const INTERFACES =
	/^(HTML\w*Element|(Custom|Input|Keyboard|Mouse|PageTransition|Pointer|Submit|Touch|UI|Wheel|)Event|Abort\w+|CanvasRenderingContext2D|Document|DocumentFragment|Element|EventTarget|FormData|Headers|History|Location|MediaQueryList|Navigator|Node|Performance|Request|Response|Storage|URL|URLSearchParams|Window)$/;

const MDN_NAMES = { ios_saf: "safari_ios" };

const toNumbers = (version) => version.replace("≤", "").split(".").map(Number);

function isNewer(version, oldest) {
	const [[major, minor = 0], [oldMajor, oldMinor = 0]] = [toNumbers(version), toNumbers(oldest)];
	return major !== oldMajor ? major > oldMajor : minor > oldMinor;
}

function has([browser, oldest], { support }) {
	return [support[browser] ?? []].flat().some(
		({ version_added: added, version_removed: removed, flags, prefix, alternative_name: alias }) =>
			typeof added === "string" && added !== "preview" && !isNewer(added, oldest) && !(removed && !isNewer(removed, oldest)) && !flags && !prefix && !alias,
	);
}

// Each name with the browser that lacks it: "ariaLabel" has "Element: not in firefox 91".
function newerNames(browserslist) {
	const oldest = browserslist.map((one) => one.split(" >= ")).map(([name, version]) => [MDN_NAMES[name] ?? name, version]);
	const known = new Set(Object.values(javascript.builtins).flatMap(Object.keys));
	const newer = new Map();
	for (const [owner, members] of Object.entries(api)) {
		for (const [key, { __compat: compat }] of Object.entries(members)) {
			if (!compat || key === owner) continue;
			const name = key.endsWith("_static") ? `${owner}.${key.replace("_static", "")}` : key;
			const lacking = oldest.filter((browser) => !has(browser, compat)).map((browser) => browser.join(" "));
			if (!lacking.length) known.add(name);
			else if (INTERFACES.test(owner)) newer.set(name, `${owner}: not in ${lacking.join(", ")}`);
		}
	}
	for (const name of known) newer.delete(name);
	return newer;
}

export default {
	meta: {
		type: "problem",
		docs: { description: "members that the oldest browsers do not have" },
		schema: [{ type: "array", items: { type: "string" } }],
		messages: { newer: "{{ name }} is too new ({{ where }}). Do without, or only where it is there." },
	},
	create(context) {
		const newer = newerNames(context.options[0]);

		function check(node, ...names) {
			const name = names.find((one) => newer.has(one));
			if (name) context.report({ node, messageId: "newer", data: { name, where: newer.get(name) } });
		}

		return {
			MemberExpression({ object, property, computed }) {
				const name = computed ? property.value : property.name;
				check(property, name, `${object.name}.${name}`);
			},
			"ObjectPattern > Property[computed=false]": ({ key }) => check(key, key.name),
		};
	},
};

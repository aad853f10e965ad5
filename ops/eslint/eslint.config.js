// What the scripts of the pages may use: `make lint`. The oldest browsers stand in package.json.

import { readFileSync } from "node:fs";
import compat from "eslint-plugin-compat";
import esX from "eslint-plugin-es-x";
import newerMembers from "./newer_members.js";

const { browserslist: browsers } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));

export default [
	// ES2021 is what all of them have. es-x knows methods of arrays, strings and the like, too.
	esX.configs["flat/restrict-to-es2021"],
	esX.configs["flat/restrict-to-es2021-intl-api"],
	compat.configs["flat/recommended"],
	{
		languageOptions: { ecmaVersion: 2021, sourceType: "module" },
		linterOptions: { reportUnusedDisableDirectives: "error" },
		plugins: { newer: { rules: { members: newerMembers } } },
		settings: { browsers, "es-x": { aggressive: true } },
		rules: { "newer/members": ["error", browsers] },
	},
];

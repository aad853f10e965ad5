// ESLint's recommended rules for all scripts, and for those of the pages also that they use nothing that
// the oldest supported browsers lack. package.json lists these browsers.

import { readFileSync } from "node:fs";
import js from "@eslint/js";
import compat from "eslint-plugin-compat";
import esX from "eslint-plugin-es-x";
import { defineConfig } from "eslint/config";
import globals from "globals";
import newerMembers from "./newer_members.js";

const { browserslist: browsers } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));

export default defineConfig([
	// Other people's; each says at its beginning what it is.
	{ ignores: ["web/static/{ed25519,qr_decode}.js"] },
	{
		extends: [js.configs.recommended],
		linterOptions: { reportUnusedDisableDirectives: "error" },
		rules: {
			"array-callback-return": "error",
			eqeqeq: "error",
			"no-eval": "error",
			"no-implied-eval": "error",
			"no-implicit-globals": "error",
			"no-self-compare": "error",
			"no-throw-literal": "error",
			"no-unreachable-loop": "error",
			"no-var": "error",
			"prefer-const": "error",
		},
	},
	{
		files: ["web/static/*.js", "ops/eslint/faults.js"],
		// ES2021 is what all of them have. es-x knows methods of arrays, strings and the like, too.
		extends: [
			esX.configs["flat/restrict-to-es2021"],
			esX.configs["flat/restrict-to-es2021-intl-api"],
			compat.configs["flat/recommended"],
		],
		languageOptions: { ecmaVersion: 2021, sourceType: "module" },
		plugins: { newer: { rules: { members: newerMembers } } },
		settings: { browsers, "es-x": { aggressive: true } },
		rules: { "newer/members": ["error", browsers] },
	},
	{
		files: ["web/static/*.js", "ops/eslint/faults.js", "tests/browser/*.js"],
		languageOptions: { globals: globals.browser },
	},
	{
		files: ["ops/eslint/{eslint.config,newer_members}.js", "**/*.mjs"],
		languageOptions: { globals: globals.node },
	},
]);

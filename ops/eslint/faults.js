// Faults that the linter must catch. Each is suppressed with a comment; `make lint` fails on a comment
// that suppresses nothing, that is when the linter no longer sees the fault.

const [element, list, canvas] = [document.body, [1, 2], document.createElement("canvas")];

// eslint-disable-next-line newer/members
AbortSignal.timeout(1000);
// eslint-disable-next-line newer/members
AbortSignal.any([]);
// eslint-disable-next-line compat/compat
new OffscreenCanvas(1, 1);
// eslint-disable-next-line newer/members
canvas.getContext("2d").roundRect(0, 0, 1, 1, 0.2);
// eslint-disable-next-line newer/members
element.ariaPressed = "true";
// eslint-disable-next-line newer/members
Object.assign(element, { id: "one" })["ariaRowIndex"] = 1;
// eslint-disable-next-line newer/members
element.showModal();
// eslint-disable-next-line newer/members
const { ariaLabel, checkVisibility } = element;
// eslint-disable-next-line newer/members
element.requestSubmit();
// eslint-disable-next-line es-x/no-array-prototype-at, es-x/no-string-prototype-at
list.at(-1);
// eslint-disable-next-line es-x/no-array-prototype-findlast-findlastindex
list.findLast(Boolean);
// eslint-disable-next-line es-x/no-object-hasown, compat/compat
Object.hasOwn(element, "id");
// eslint-disable-next-line compat/compat
structuredClone(list);
// eslint-disable-next-line compat/compat
requestIdleCallback(() => [ariaLabel, checkVisibility]);
// eslint-disable-next-line compat/compat
crypto.randomUUID();

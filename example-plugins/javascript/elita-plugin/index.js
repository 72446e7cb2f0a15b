// Write Elita plugins in JavaScript: plain functions, and one object that tells the host about them.
// What it offers is described in index.d.ts.

import { append as appendText } from "elita:plugin/jobs@0.1.0";

const SHOWN_CHARACTERS = 64;

export class Failure extends Error {
  constructor(message, details) {
    super(message);
    this.details = details;
  }
}

export function append(data) {
  return appendText(json(data));
}

export class ActionCall {
  constructor({ application, action, job, attempt, user, parameters }) {
    Object.assign(this, { application, action, job, attempt, user });
    this.parameters = {};
    for (const [name, value] of parameters) {
      if (!Object.hasOwn(this.parameters, name)) this.parameters[name] = [];
      this.parameters[name].push(value);
    }
  }

  text(name) {
    const values = Object.hasOwn(this.parameters, name) ? this.parameters[name] : [];
    if (values.length === 1) return values[0];
    if (values.length === 0) throw new Failure(`parameter \`${name}\` is missing`);
    throw new Failure(`parameter \`${name}\`: given ${values.length} times, and one value is expected`);
  }

  boolean(name) {
    const value = this.text(name);
    if (/^(true|false)$/i.test(value)) return value.toLowerCase() === "true";
    throw new Failure(`parameter \`${name}\`: \`${shown(value)}\` is not true or false`);
  }

  integer(name, minimum = 0, maximum = 2 ** 32 - 1) {
    const value = this.text(name);
    const number = /^[+-]?[0-9]+$/.test(value) ? Number(value) : NaN;
    if (minimum <= number && number <= maximum) return number;
    throw new Failure(`parameter \`${name}\`: \`${shown(value)}\` is not an integer of ${minimum} to ${maximum}`);
  }
}

export class HookCall {
  constructor({ application, hook, job, parameters }) {
    Object.assign(this, { application, hook, job, parameters: JSON.parse(parameters) });
  }
}

export function plugin({ actions = {}, hooks = {} }) {
  const registration = {
    registerActions: () =>
      Object.entries(actions).map(([application, its]) => ({ application, actions: its.map(declaration) })),
    registerHooks: () => Object.entries(hooks).map(([application, its]) => ({ application, hooks: Object.keys(its) })),
  };
  const handler = {
    runAction: (call) => {
      const action = actions[call.application].find(({ name }) => name === call.action);
      return run(() => action.run(new ActionCall(call)));
    },
    runHook: (call) => run(() => hooks[call.application][call.hook](new HookCall(call))),
  };
  return { registration, handler };
}

function declaration({ name, description, parameters = [], idempotent = false, timeoutSeconds }) {
  return { name, description, parameters, idempotent, timeoutSeconds };
}

// What is async has ended when this has: otherwise the host would take a promise for its result.
async function run(work) {
  try {
    return json(await work());
  } catch (error) {
    throw failure(error);
  }
}

// What the host takes for a failure: an object with a message, details, which are JSON, and a trace.
function failure(error) {
  if (error instanceof Failure) {
    return { message: error.message, details: error.details === undefined ? undefined : json(error.details) };
  }
  // An answer of the host: one of the cases of `types.error`.
  if (typeof error?.payload?.val === "string") return { message: error.payload.val };
  if (!(error instanceof Error)) return { message: String(error) };
  return { message: `${error.name}: ${error.message}`, trace: error.stack };
}

// A value as JSON; nothing is null. `JSON.stringify` makes `{}` of a promise, and nothing of a function.
function json(value) {
  const places = new Map();
  const text = JSON.stringify(value ?? null, function (name, member) {
    const place = places.has(this) ? `${places.get(this)}/${name}` : name;
    if (typeof member?.then === "function") throw new TypeError(`${place || "this"} is a promise, and no JSON: await it`);
    if (typeof member === "object") places.set(member, place);
    return member;
  });
  if (text === undefined) throw new TypeError(`a ${typeof value} is no JSON`);
  return text;
}

// A value as an error message shows it.
function shown(value) {
  const characters = [...value];
  return characters.length <= SHOWN_CHARACTERS ? value : characters.slice(0, SHOWN_CHARACTERS).join("") + "…";
}

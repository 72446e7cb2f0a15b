// Write Elita plugins in JavaScript: plain functions, and one object that tells the host about them.
// What it offers is described in index.d.ts.

import { append as appendText, progress as progressTo } from "elita:plugin/jobs@0.1.0";

const SHOWN_CHARACTERS = 64;
// Of how many errors that caused one another the last one tells.
const MAX_CAUSES = 8;

export class Failure extends Error {
  constructor(message, details, options) {
    super(message, options);
    this.details = details;
  }
}

export function append(data) {
  return appendText(json(data));
}

export function progress(percent, status) {
  // What is not a number of this range would become another one on its way to the host.
  if (typeof percent !== "number" || !(percent >= 0 && percent <= 100)) {
    throw new RangeError(`progress is a number from 0 to 100, and not ${shown(String(percent))}`);
  }
  return progressTo(Math.floor(percent), status);
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

  // JSON's null is as good as missing, here and below.
  optionalText(name) {
    return this.#isGiven(name) ? this.text(name) : undefined;
  }

  boolean(name) {
    const value = this.text(name);
    if (/^(true|false)$/i.test(value)) return value.toLowerCase() === "true";
    throw new Failure(`parameter \`${name}\`: \`${shown(value)}\` is not true or false`);
  }

  optionalBoolean(name) {
    return this.#isGiven(name) ? this.boolean(name) : undefined;
  }

  integer(name, minimum = 0, maximum = 2 ** 32 - 1) {
    const value = this.text(name);
    const number = /^[+-]?[0-9]+$/.test(value) ? Number(value) : NaN;
    if (minimum <= number && number <= maximum) return number;
    throw new Failure(`parameter \`${name}\`: \`${shown(value)}\` is not an integer of ${minimum} to ${maximum}`);
  }

  optionalInteger(name, minimum, maximum) {
    return this.#isGiven(name) ? this.integer(name, minimum, maximum) : undefined;
  }

  value(name) {
    const text = this.optionalText(name);
    if (text === undefined || !/^[{[]/.test(text)) return text;
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  #isGiven(name) {
    return Object.hasOwn(this.parameters, name) && !(this.parameters[name].length === 1 && this.parameters[name][0] === "null");
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
  const declared = parameters.map(({ name, type, description, optional = false }) => ({
    name,
    type: optional ? `${type}?` : type,
    description,
  }));
  return { name, description, parameters: declared, idempotent, timeoutSeconds };
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
  if (error instanceof Failure) return expected(error);
  // An answer of the host: one of the cases of `types.error`, each with a sentence. Those of WASI's interfaces are names.
  if (typeof error?.payload?.val === "string") return { message: error.payload.val };
  if (error?.payload !== undefined) return { message: `the host answered ${thrown(error.payload)}`, trace: error.stack };
  if (!(error instanceof Error)) return { message: thrown(error) };
  const causes = causesOf(error);
  return {
    message: [error, ...causes].map(told).join("; caused by "),
    trace: [error, ...causes].map((each) => each?.stack ?? "").join("caused by\n"),
  };
}

function told(error) {
  if (!(error instanceof Error)) return thrown(error);
  return `${error.name}: ${error.message}`;
}

function expected(error) {
  const message = [error.message, ...causesOf(error).map((each) => each?.message ?? thrown(each))].join("; caused by ");
  try {
    return { message, details: error.details === undefined ? undefined : json(error.details) };
  } catch (problem) {
    const why = problem instanceof Error ? problem.message : thrown(problem);
    return { message, trace: `its details are left out, because they cannot be written as JSON: ${why}\n${error.stack}` };
  }
}

function causesOf(error) {
  const causes = [];
  for (let cause = error.cause; cause !== undefined && causes.length < MAX_CAUSES; cause = cause?.cause) causes.push(cause);
  return causes;
}

// What was thrown and is not an error.
function thrown(value) {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value, (_, member) => (typeof member === "bigint" ? String(member) : member)) ?? String(value);
  } catch {
    return String(value);
  }
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
  if (text === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return text;
}

// A value as an error message shows it.
function shown(value) {
  const characters = [...value];
  return characters.length <= SHOWN_CHARACTERS ? value : characters.slice(0, SHOWN_CHARACTERS).join("") + "…";
}

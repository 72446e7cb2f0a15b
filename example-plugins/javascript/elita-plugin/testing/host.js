// A host in memory: what a plugin finds in a test, and what it has left.

import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";

import { remote } from "./remote.js";

const JOB = "00000000-0000-0000-0000-000000000000";
const TIME = "2026-01-01T00:00:00.000Z";
const MAX_ENTRY_BYTES = 64 * 1024;

const running = new AsyncLocalStorage();

export class NoHost extends Error {}

/** An answer of the host, as a component gets it. */
class Answer extends Error {
  constructor(tag, val) {
    super(val);
    this.payload = { tag, val };
  }
}

/** What the modules `elita:plugin/…` do. */
export function ask(of, name, given) {
  const host = running.getStore();
  if (host === undefined) {
    throw new NoHost(
      `${of}.${name} is a function of the host, and there is none in a test: call what you test by \`new Host().run(…)\``,
    );
  }
  const found = host.functions[of]?.[name];
  if (found === undefined) {
    throw new NoHost(
      `${of}.${name} is a function of the host, and the \`Host\` of elita-plugin/testing does not have it: put what you ` +
        "test into a function that does not call it",
    );
  }
  return found(...given);
}

export class Host {
  entries = [];
  log = [];
  started = [];
  applications = new Map();
  called = [];
  #servers = new Map();
  #builds = new Map();
  #results = new Map();
  #isCancelled = false;

  application(name, attributes = {}) {
    this.applications.set(name, attributes);
    return this;
  }

  build(application, name, { attributes = {}, master, fileType = "zip" } = {}) {
    if (!this.applications.has(application)) this.application(application);
    const packages = master === undefined ? {} : { master: { fileType, content: Buffer.from(master) } };
    this.#builds.set(key(application, name), { application, name, attributes, packages });
    return this;
  }

  otherAction(application, name, result = null) {
    this.#results.set(key(application, name), result);
    return this;
  }

  server(name, answers = () => ({})) {
    this.#servers.set(name, answers);
    return this;
  }

  cancelled() {
    this.#isCancelled = true;
    return this;
  }

  attributes(application, build) {
    return this.#build(application, build).attributes;
  }

  run(work) {
    return running.run(this, work);
  }

  async action(handler, application, action, parameters = {}) {
    const given = Object.entries(parameters).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value]).map((one) => [name, typeof one === "string" ? one : JSON.stringify(one)]),
    );
    const call = { application, action, parameters: given, job: JOB, attempt: 1, user: "tester" };
    return JSON.parse(await this.run(() => handler.runAction(call)));
  }

  async hook(handler, application, hook, parameters = {}) {
    const call = { application, hook, parameters: JSON.stringify(parameters), job: JOB };
    return JSON.parse(await this.run(() => handler.runHook(call)));
  }

  upload(handler, application, build) {
    const files = this.#files(this.#build(application, build));
    const packages = Object.fromEntries(
      files.map(({ name, filename, fileType, sizeBytes, sha256 }) => [
        name,
        { filename, file_type: fileType, size_bytes: Number(sizeBytes), sha256 },
      ]),
    );
    const { filename, file_type } = packages.master;
    const parameters = { build_name: build, storage_dir: "/build", filename, file_type, packages };
    return this.hook(handler, application, "BUILD_UPLOAD_SUCCESS", parameters);
  }

  functions = {
    jobs: {
      current: () => JOB,
      append: (data) => {
        if (Buffer.byteLength(data) > MAX_ENTRY_BYTES) {
          throw new Answer("limit-exceeded", `an entry has at most ${MAX_ENTRY_BYTES} bytes`);
        }
        return BigInt(this.entries.push(JSON.parse(data)));
      },
      progress: (percent, status) => BigInt(this.entries.push({ status, progress: percent })),
      cancelRequested: () => this.#isCancelled,
      get: (id) => {
        const started = this.started.find(({ job }) => job === id);
        if (started === undefined && id !== JOB) throw new Answer("not-found", `job \`${id}\` does not exist`);
        const result = started && JSON.stringify(this.#results.get(key(started.application, started.action)));
        return {
          id,
          name: started?.action ?? "test",
          jobType: "action",
          application: started?.application,
          status: started ? "succeeded" : "running",
          attempt: 1,
          createdAt: TIME,
          startedAt: TIME,
          completedAt: started && TIME,
          data: JSON.stringify(started ? { parameters: started.parameters } : {}),
          result,
          error: undefined,
        };
      },
      entries: (id, after, limit) => {
        this.functions.jobs.get(id);
        const all = id === JOB ? this.entries : [];
        const made = all.map((data, at) => ({ seq: BigInt(at + 1), at: TIME, source: "test", data: JSON.stringify(data) }));
        return made.slice(Number(after), Number(after) + limit);
      },
    },
    remote: remote(
      this.#servers,
      this.called,
      (tag, message) => {
        throw new Answer(tag, message);
      },
      (wanted) => {
        if (this.#isCancelled) throw new Answer("conflict", "the job was asked to stop");
        if (wanted) this.functions.builds.readPackage(wanted.application, wanted.build, wanted.package, 0n, 0);
      },
    ),
    log: { write: (level, message) => void this.log.push([level, message]) },
    actions: {
      run: (application, action, parameters) => {
        if (!this.#results.has(key(application, action))) {
          throw new Answer("not-found", `action \`${action}\` of application \`${application}\` does not exist`);
        }
        const job = JOB.slice(0, -12) + String(this.started.length + 1).padStart(12, "0");
        this.started.push({ job, application, action, parameters });
        return job;
      },
    },
    applications: {
      get: (name) => {
        if (!this.applications.has(name)) throw new Answer("not-found", `application \`${name}\` does not exist`);
        return { name, attributes: JSON.stringify(this.applications.get(name)), createdAt: TIME, updatedAt: TIME };
      },
      list: (which) => page([...this.applications.keys()], which),
      update: (name, change) => {
        this.functions.applications.get(name);
        this.applications.set(name, changed(this.applications.get(name), change));
        return this.functions.applications.get(name);
      },
    },
    builds: {
      get: (application, name) => {
        const build = this.#build(application, name);
        const packages = this.#files(build);
        const masterFile = packages.find(({ name }) => name === "master")?.filename;
        const attributes = JSON.stringify(build.attributes);
        const stored = masterFile !== undefined;
        return { application, name, stored, masterFile, packages, attributes, createdAt: TIME, updatedAt: TIME };
      },
      list: (application, which) => {
        this.functions.applications.get(application);
        const its = [...this.#builds.values()].filter((build) => build.application === application);
        return page(its.map(({ name }) => name), which);
      },
      create: (application, name, attributes) => {
        this.functions.applications.get(application);
        if (this.#builds.has(key(application, name))) {
          throw new Answer("already-exists", `build \`${name}\` already exists`);
        }
        this.build(application, name, { attributes: JSON.parse(attributes) });
        return this.functions.builds.get(application, name);
      },
      update: (application, name, change) => {
        const build = this.#build(application, name);
        build.attributes = changed(build.attributes, change);
        return this.functions.builds.get(application, name);
      },
      delete: (application, name) => {
        this.#build(application, name);
        this.#builds.delete(key(application, name));
      },
      readPackage: (application, build, name, offset, length) => {
        const found = this.#build(application, build).packages[name];
        if (found === undefined) throw new Answer("not-found", `package \`${name}\` does not exist`);
        return new Uint8Array(found.content.subarray(Number(offset), Number(offset) + length));
      },
    },
  };

  #build(application, name) {
    const found = this.#builds.get(key(application, name));
    if (found === undefined) throw new Answer("not-found", `build \`${name}\` does not exist`);
    return found;
  }

  #files({ name: build, packages }) {
    return Object.entries(packages).map(([name, { fileType, content }]) => ({
      name,
      filename: `${name === "master" ? build : `${build}-${name}`}.${fileType}`,
      fileType,
      sizeBytes: BigInt(content.length),
      sha256: createHash("sha256").update(content).digest("hex"),
    }));
  }
}

function key(application, name) {
  return `${application}/${name}`;
}

function page(names, { after, limit = 100 } = {}) {
  const rest = names.sort().filter((name) => after === undefined || name > after);
  return { items: rest.slice(0, limit), next: rest.length > limit ? rest[limit - 1] : undefined };
}

function changed(attributes, change) {
  const patch = JSON.parse(change);
  const other = Object.keys(patch).find((name) => name !== "attributes");
  if (other !== undefined) throw new Answer("invalid", `\`${other}\` cannot be changed`);
  return merged(attributes, patch.attributes ?? {});
}

// A merge patch, RFC 7396.
function merged(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const made = target !== null && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete made[name];
    else made[name] = merged(made[name], value);
  }
  return made;
}

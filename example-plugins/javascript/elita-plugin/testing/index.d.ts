import type { Json } from "../index.js";

/** What a plugin exports, as `plugin` of `elita-plugin` returns it. */
type Handler = object;

/** A function of the host was called where there is none, or one that `Host` does not have. */
export class NoHost extends Error {}

/** A function of `remote` that was called. */
export interface Called {
  /** Its name, such as `run`, `runScript` or `deleteDirectory`. */
  function: string;
  servers: string[];
  /**
   * The other arguments by their names, without those that were not given: the `command` of `run`, a `path`, and of the
   * options such as `directory` and `stdin`. Bytes are a text.
   */
  arguments: { [name: string]: Json };
}

/**
 * What comes of it on a server: it ends with this exit code, 0 unless another one is given, or it was not begun, or nobody can
 * say what became of it. Output of `ping` and `operatingSystems` is the name of the system, `Linux` if there is none.
 */
export interface Answer {
  stdout?: string;
  stderr?: string;
  exitCode?: number;
  /** Why it was not begun. */
  noResponse?: string;
  /** Why nobody can say. */
  unknown?: string;
}

/**
 * Takes the host's place in tests with Node.js: actions and hooks run without a server.
 *
 *     import { Host } from "elita-plugin/testing"; // before the plugin
 *     const { handler } = await import("./plugin.js");
 *
 * It has applications, builds, actions of other plugins, and servers, as far as the test gives it some; functions of `jobs`,
 * `log`, `applications`, `builds`, `actions` and `remote` work as on a server. There are no grants here, and no limits but those of an entry
 * and of a percentage.
 */
export class Host {
  /** What was added to the job's log. */
  readonly entries: Json[];
  /** What was written for operators: the level, and the line. */
  readonly log: [string, string][];
  /** The jobs that were started. */
  readonly started: { job: string; application: string; action: string; parameters: [string, string][] }[];
  /** The attributes of each. */
  readonly applications: Map<string, Json>;
  /** What was done on servers. */
  readonly called: Called[];

  application(name: string, attributes?: Json): this;
  /** With a build, and its application. With `master` it is stored. */
  build(
    application: string,
    name: string,
    having?: { attributes?: Json; master?: Uint8Array | string; fileType?: string },
  ): this;
  /** With an action that can be started. Its job has ended with this result when it is looked at. */
  otherAction(application: string, name: string, result?: Json): this;
  /** With a server that answers like this to whatever is done there; without a function, all goes well. */
  server(name: string, answers?: (called: Called) => Answer): this;
  /** With a job that was asked to stop. */
  cancelled(): this;
  /** The attributes of a build. */
  attributes(application: string, build: string): Json;

  /** Does something as on this host, and returns what it returns. */
  run<T>(work: () => T): T;
  /**
   * Runs an action as the host does, and returns its result. A list repeats a parameter; what is not a text is given as its
   * JSON. Of an action that fails, what is thrown has a `message`, and `details` and a `trace` if there are some.
   */
  action(handler: Handler, application: string, action: string, parameters?: { [name: string]: Json }): Promise<Json>;
  /** Runs a hook as the host does, and returns its result. */
  hook(handler: Handler, application: string, hook: string, parameters?: { [name: string]: Json }): Promise<Json>;
  /** Fires BUILD_UPLOAD_SUCCESS for a build that is stored. There is no directory with its files. */
  upload(handler: Handler, application: string, build: string): Promise<Json>;
}

/** Anything that is written as JSON. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Throw one to end the job as failed with this message. Details are kept in its error. */
export class Failure extends Error {
  constructor(message: string, details?: Json, options?: { cause?: unknown });
  readonly details?: Json;
}

/** Adds an entry to the job's log, for its users to see: any JSON of at most 64 KiB. Returns its number. */
export function append(data: Json): bigint;

/** Says in the job's log how far it is, from 0 to 100 percent, and what it does. Returns the entry's number. */
export function progress(percent: number, status: string): bigint;

/** A request to run an action. */
export class ActionCall {
  readonly application: string;
  readonly action: string;
  readonly job: string;
  /** 1, and more when an idempotent action is run again. */
  readonly attempt: number;
  /** Who asked, for the record. */
  readonly user?: string;
  /** All values of each name, in the order of the request. */
  readonly parameters: { [name: string]: string[] };

  /** The value of a parameter that must be there exactly once. */
  text(name: string): string;
  /** A parameter that is true or false. */
  boolean(name: string): boolean;
  /** A parameter that is an integer, by default of 0 to 4294967295. */
  integer(name: string, minimum?: number, maximum?: number): number;
  /** The same of parameters that may be missing: then undefined. JSON's null is as good as missing. */
  optionalText(name: string): string | undefined;
  optionalBoolean(name: string): boolean | undefined;
  optionalInteger(name: string, minimum?: number, maximum?: number): number | undefined;
  /** An object or a list that was sent as JSON; anything else is a text. */
  value(name: string): Json | undefined;
}

/** A named point of an operation that was reached. */
export class HookCall<Parameters = { [name: string]: Json }> {
  readonly application: string;
  readonly hook: string;
  readonly job: string;
  readonly parameters: Parameters;
}

/** The parameters of `BUILD_UPLOAD_SUCCESS`: a build is stored and packaged. */
export interface BuildUploadSuccess {
  build_name: string;
  /** A directory that the hook can read, with the build's files. */
  storage_dir: string;
  /** The master package's file in it. */
  filename: string;
  /** `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`. */
  file_type: string;
  /** The build's packages by name, `master` among them. */
  packages: { [name: string]: { filename: string; file_type: string; size_bytes: number; sha256: string } };
}

/** A gitdeploy: what is deployed where, through which repository. */
export interface Gitdeploy {
  name: string;
  /** The package that it deploys. */
  package: string;
  /** Where it deploys to: the directory on the servers, the name of the repository, and the branch that is deployed. */
  location: { path: string; gitrepo: string; default_branch: string };
  /** The servers it is initialized on, each with the build that was last deployed there. */
  servers: { server: string; deployed_build: string | null }[];
  /** Whatever its owner keeps with it. */
  attributes: { [name: string]: Json };
}

/**
 * The parameters of `GITDEPLOY_INIT_PRE`, `GITDEPLOY_INIT_POST`, `GITDEPLOY_DEINIT_PRE` and `GITDEPLOY_DEINIT_POST`: a
 * gitdeploy is put on servers, or removed from them.
 */
export interface GitdeployServers {
  /** The servers' names; in the `_POST` hooks those where it went well. */
  server_list: string[];
  gitdeploy: Gitdeploy;
}

/** What changed in one file. */
export interface FileChange {
  /** Relative to the root of the repository. */
  path: string;
  /** What happened to it. */
  status: string;
  /** Whether it is not a text file, or is longer than 1 MiB; then its lines are not counted. */
  binary: boolean;
  /** Lines added and removed. Null: they are not counted. */
  insertions: number | null;
  deletions: number | null;
}

/** The parameters of `GITDEPLOY_COMMIT_DIFF`: a package was committed, and is about to be pushed. */
export interface GitdeployCommitDiff {
  /** The changed files' paths, relative to the root of the repository; at most 2000. */
  files: string[];
  /** What changed in each of them. */
  changes: FileChange[];
  /** Whether further files have changed. */
  more: boolean;
  gitdeploy: Gitdeploy;
  /** The name of the repository. */
  gitrepo: string;
  /** The build that was committed. */
  build_name: string;
  /** The commit's id. */
  commit: string;
}

/** What a group deployment deploys to: names of groups and of environments. */
export interface Target {
  groups: string[];
  environments: string[];
}

/** A gitdeploy that goes to a server, each by its name. */
export interface BatchTarget {
  server: string;
  gitdeploy: string;
}

/** What a group deployment deploys together. */
export interface Batch {
  /** Names of servers and of gitdeploys. */
  servers: string[];
  gitdeploys: string[];
  /** Whether it is a stage of an ordered group, with another one to follow. */
  ordered_gitdeploy: boolean;
  /** Which gitdeploy goes to which server. */
  targets: BatchTarget[];
}

/** The parameters of `AUTO_DEPLOYMENT_START`: a group deployment is about to begin. */
export interface AutoDeploymentStart {
  deployment_id: string;
  /** The build that is deployed. */
  build: string;
  /** What it is deployed to. */
  target: Target;
  /** What will be deployed together, in order. */
  batches: Batch[];
}

/**
 * The parameters of `AUTO_DEPLOYMENT_BATCH_BEGIN` and `AUTO_DEPLOYMENT_BATCH_DONE`: around each batch of a group
 * deployment.
 */
export interface AutoDeploymentBatch {
  deployment_id: string;
  build: string;
  /** From 0. */
  batch_number: number;
  batch_count: number;
  batch: Batch;
  /** All of them. */
  batches: Batch[];
}

/** The parameters of `AUTO_DEPLOYMENT_COMPLETE`: the last batch of a group deployment is done. */
export interface AutoDeploymentComplete extends AutoDeploymentStart {
  /** The deployment's document. */
  deployment: { [name: string]: Json };
}

/** The parameters of `AUTO_DEPLOYMENT_FAILED`: a group deployment ended before its last batch was done. */
export interface AutoDeploymentFailed extends AutoDeploymentComplete {
  /** Why it ended. */
  error: { [name: string]: Json };
}

/** What a function returns is the job's result; nothing is null. A promise is awaited. */
type Result = Json | void | Promise<Json | void>;

export interface Action {
  name: string;
  /** What the action does, in a sentence. */
  description: string;
  /** Those that every request must have, unless they are optional. The type describes, it is not enforced. */
  parameters?: { name: string; type: string; description: string; optional?: boolean }[];
  /** Whether it may be run again when its host died while it ran. */
  idempotent?: boolean;
  timeoutSeconds?: number;
  run: (call: ActionCall) => Result;
}

/** A function for each hook. Of those that Elita fires, the parameters have their types. */
export interface Hooks {
  BUILD_UPLOAD_SUCCESS?: (call: HookCall<BuildUploadSuccess>) => Result;
  GITDEPLOY_INIT_PRE?: (call: HookCall<GitdeployServers>) => Result;
  GITDEPLOY_INIT_POST?: (call: HookCall<GitdeployServers>) => Result;
  GITDEPLOY_DEINIT_PRE?: (call: HookCall<GitdeployServers>) => Result;
  GITDEPLOY_DEINIT_POST?: (call: HookCall<GitdeployServers>) => Result;
  GITDEPLOY_COMMIT_DIFF?: (call: HookCall<GitdeployCommitDiff>) => Result;
  AUTO_DEPLOYMENT_START?: (call: HookCall<AutoDeploymentStart>) => Result;
  AUTO_DEPLOYMENT_BATCH_BEGIN?: (call: HookCall<AutoDeploymentBatch>) => Result;
  AUTO_DEPLOYMENT_BATCH_DONE?: (call: HookCall<AutoDeploymentBatch>) => Result;
  AUTO_DEPLOYMENT_COMPLETE?: (call: HookCall<AutoDeploymentComplete>) => Result;
  AUTO_DEPLOYMENT_FAILED?: (call: HookCall<AutoDeploymentFailed>) => Result;
  [hook: string]: ((call: HookCall<any>) => Result) | undefined;
}

/** What a plugin offers, by application; of the hooks, a function for each name. */
export interface Offer {
  actions?: { [application: string]: Action[] };
  hooks?: { [application: string]: Hooks };
}

/**
 * What the component exports: `export const { registration, handler } = plugin({ … })`.
 *
 * A function may be async: the job goes on until its promise is settled. What it starts and does not await may never
 * happen.
 *
 * What a function throws ends the job as failed: a `Failure` with its message and details, an answer of the host with
 * the host's sentence, and any other error with its name, and its stack as the error's trace.
 */
export function plugin(offer: Offer): { registration: object; handler: object };

// What `misbehave` does, as far as languages differ in it: how a run fails, what one costs, and how values look.

import { Failure, plugin, progress } from "elita-plugin";
import { run as runAction } from "elita:plugin/actions@0.1.0";
import { list as listBuilds } from "elita:plugin/builds@0.1.0";
import { create as createGitdeploy } from "elita:plugin/gitdeploys@0.1.0";
import { create as createGitRepo } from "elita:plugin/git-repos@0.1.0";
import { create as createGroup } from "elita:plugin/groups@0.1.0";
import { append, cancelRequested, entries, get as getJob } from "elita:plugin/jobs@0.1.0";
import { create as createPackageMap } from "elita:plugin/package-maps@0.1.0";
import { createDirectory, deleteDirectory, operatingSystems, pushFile, run as runOn } from "elita:plugin/remote@0.1.0";
import { saltCommand } from "elita:plugin/salt@0.1.0";
import { environments } from "elita:plugin/servers@0.1.0";

const offered = plugin({
  hooks: { hostile: { BUILD_UPLOAD_SUCCESS: lateHook } },
  actions: {
    hostile: [
      { name: "Noop", description: "Does nothing", run: () => {} },
      { name: "Ask", description: "Asks once whether to stop", run: () => cancelRequested() },
      { name: "Shapes", description: "Hands the host a value of every shape, and gets them back", run: shapes },
      { name: "OnServers", description: "Works on a server", run: onServers },
      { name: "Salt", description: "Calls a function of Salt", run: callSalt },
      { name: "Fail", description: "Fails as is to be expected", run: fail },
      { name: "Panic", description: "Fails as nobody expects", run: onTheWayDown },
      { name: "Late", description: "Returns after a while", run: late },
      { name: "LateFail", description: "Fails after a while, as is to be expected", run: lateFail },
      { name: "LatePanic", description: "Fails after a while, as nobody expects", run: latePanic },
      { name: "Never", description: "Waits for what never comes", run: () => new Promise(() => {}) },
      { name: "Forgotten", description: "Returns what it should have awaited", run: () => ({ pages: [late(), late()] }) },
      { name: "NotAwaited", description: "Starts what fails after a while, and does not wait for it", run: notAwaited },
      { name: "ThrowsObject", description: "Throws what is not an error", run: throwsObject },
      { name: "ThrowsCause", description: "Throws an error with a cause", run: throwsCause },
      { name: "OddDetails", description: "Fails with details that are not JSON", run: oddDetails },
      { name: "HalfProgress", description: "Says how far it is by a number that is not whole", run: halfProgress },
      { name: "OddProgress", description: "Is further than the end", run: () => progress(300, "too far") },
      {
        name: "Given",
        description: "Returns its optional parameters",
        parameters: [
          { name: "text", type: "string", description: "a text", optional: true },
          { name: "truth", type: "boolean", description: "yes or no", optional: true },
          { name: "number", type: "integer", description: "a number", optional: true },
        ],
        run: given,
      },
      { name: "PanicUncaught", description: "The same where nothing catches it", run: () => {} },
    ],
  },
});

export const registration = offered.registration;
export const handler = {
  ...offered.handler,
  // Without the helper module.
  runAction: (call) => (call.action === "PanicUncaught" ? onTheWayDown() : offered.handler.runAction(call)),
};

function shapes({ application, job }) {
  const names = listBuilds(application, { limit: 10 });
  const packageMap = createPackageMap(application, "shapes", [{ name: "web", patterns: ["web/**"], prefix: "www/" }], "{}");
  createGitRepo(application, "shapes", { existing: true, uri: "https://git.example/shapes.git" }, "{}");
  const newGitdeploy = {
    package: "web",
    location: { path: "/srv/shapes", gitrepo: "shapes", defaultBranch: "main" },
    options: { favor: "ours", ignoreWhitespace: true, gitignore: ["*.log"] },
    actions: { prepull: [["echo", "one", "two"]], postpull: [] },
  };
  const gitdeploy = createGitdeploy(application, "shapes", newGitdeploy, "{}");
  const newGroup = { gitdeploys: { tag: "ordered", val: [["shapes"]] }, rollingDeploy: true, description: "all shapes" };
  const group = createGroup(application, "shapes", newGroup, "{}");
  const run = runAction(application, "Noop", [["a", "1"], ["a", "2"]]);
  const entry = append('{"a": 1}');
  return {
    builds: [names.items, names.next ?? null],
    rules: packageMap.packages.map((rule) => [rule.name, rule.patterns, rule.removePrefix ?? null, rule.prefix]),
    favor: gitdeploy.options.favor,
    prepull: gitdeploy.actions.prepull,
    ordered: group.gitdeploys.tag === "ordered" ? group.gitdeploys.val : null,
    environments: environments(),
    job: ["queued", "running", "succeeded"].includes(getJob(run).status),
    entries: entries(job, entry - 1n, 10).map(({ seq, data }) => [Number(seq), data]),
  };
}

function onServers() {
  const servers = ["web1"];
  const bytes = (text) => new TextEncoder().encode(text);
  const [system] = operatingSystems(servers);
  const options = {
    directory: "/opt/foobar",
    environment: [["A", "b c"]],
    stdin: bytes("in\n"),
    timeoutSeconds: 30,
    secrets: ["secret"],
  };
  let missing = null;
  try {
    const file = { tag: "build-package", val: { application: "hostile", build: "none", package: "master" } };
    pushFile(servers, file, "/opt/foobar/b");
  } catch (error) {
    missing = error.payload.tag.replace("-", "");
  }
  const reports = [
    createDirectory(servers, "/opt/foobar"),
    pushFile(servers, { tag: "bytes", val: bytes("a\n") }, "/opt/foobar/a", 0o600),
    runOn(servers, ["sh", "-c", "cat a -; echo $A secret; exit 3"], options),
    deleteDirectory(servers, "/opt/foobar"),
  ];
  return {
    system: [system.server, system.os ?? null, system.name ?? null],
    missing,
    reports: reports.flat().map(({ outcome, exitCode, stdout }) => [outcome, exitCode ?? null, stdout]),
  };
}

function callSalt() {
  const returned = saltCommand(["m1"], "test.ping", [], [["a", JSON.stringify("b=c")]], 30);
  return returned.map(({ server, outcome, value, retcode }) => [server, outcome, JSON.parse(value), retcode]);
}

// Some turns of the queue later.
function halfProgress() {
  progress(45.5, "halfway");
  progress(100.0, "done");
}

async function aWhile() {
  for (let turn = 0; turn < 10; turn++) await null;
}

async function late() {
  await aWhile();
  return "late";
}

async function lateFail() {
  await aWhile();
  fail();
}

async function latePanic() {
  await aWhile();
  onTheWayDown();
}

// By what the build is called.
async function lateHook({ parameters }) {
  await aWhile();
  switch (parameters.build_name) {
    case "late":
      return late();
    case "late-fail":
      return lateFail();
    case "late-never":
      return new Promise(() => {});
  }
}

function notAwaited() {
  latePanic();
  return "early";
}

function throwsObject() {
  throw { code: 5 };
}

function throwsCause() {
  try {
    onTheWayDown();
  } catch (cause) {
    throw new Error("no widgets today", { cause });
  }
}

function oddDetails() {
  throw new Failure("the widget press is jammed", { press: 42n });
}

function given(call) {
  return [
    call.optionalText("text") ?? "missing",
    call.optionalBoolean("truth") ?? "missing",
    call.optionalInteger("number") ?? "missing",
    call.value("value") ?? "missing",
  ];
}

function fail() {
  throw new Failure("the widget press is jammed", { press: 42, widgets: ["left", "right"] });
}

function onTheWayDown() {
  deepInsideThePlugin();
  return null;
}

function deepInsideThePlugin() {
  throw new RangeError("the widget press is jammed: 42");
}

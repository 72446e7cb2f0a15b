// Servers, and what is done on them: each answers as the test says.

/** The arguments of each function of `remote` that come after the servers. */
const ARGUMENTS = {
  ping: ["timeoutSeconds"],
  operatingSystems: [],
  run: ["command", "options"],
  runScript: ["script", "shell", "options"],
  createDirectory: ["path"],
  deleteDirectory: ["path"],
  deleteFile: ["path"],
  touch: ["path"],
  appendToFile: ["path", "bytes"],
  pushFile: ["content", "path", "mode", "timeoutSeconds"],
  gitClone: ["url", "path", "branch"],
  gitCheckout: ["path", "reference"],
  gitDiscardChanges: ["path"],
  gitAddAll: ["path"],
  gitCommit: ["path", "message"],
  gitSetUser: ["path", "name", "email"],
  gitSetAutocrlf: ["path", "value"],
  gitSetPushUrl: ["path", "url"],
  gitPull: ["path", "options"],
};

/**
 * The functions of `remote`. `servers` has how each answers, `called` is told of each call; `refuse` throws an answer of the
 * host, and `check` does where the job was asked to stop or a package is not there.
 */
export function remote(servers, called, refuse, check) {
  const on = (name, names, given) => {
    check();
    names.forEach((server, index) => {
      if (!servers.has(server)) refuse("not-found", `server \`${server}\` does not exist`);
      if (names.indexOf(server) < index) refuse("invalid", `server \`${server}\` is given twice`);
    });
    if (names.length === 0) refuse("invalid", "no server is given");
    const its = argumentsOf(ARGUMENTS[name], given);
    if (its.package !== undefined) check(its.package);
    const path = its.path ?? "/";
    if (!/^(\/|~\/|[A-Za-z]:[\\/])/.test(path) || path.split(/[\\/]/).includes("..")) {
      refuse("invalid", `path: \`${path}\` does not begin with \`/\` or \`~/\`, or has \`..\` in it`);
    }
    const call = { function: name, servers: [...names], arguments: its };
    called.push(call);
    return names.map((server) => report(server, servers.get(server)(call) ?? {}));
  };
  const functions = Object.keys(ARGUMENTS).map((name) => [name, (names, ...given) => on(name, names, given)]);
  const named = ({ outcome, stdout }) => (outcome === "ok" ? stdout || "Linux" : undefined);
  return {
    ...Object.fromEntries(functions),
    ping: (names, ...given) =>
      on("ping", names, given).map((report) => ({ ...report, stdout: named(report) ?? report.stdout })),
    operatingSystems: (names) =>
      on("operatingSystems", names, []).map((report) => {
        const name = named(report);
        const os = name && (name === "Windows" ? "windows" : "unix");
        return { server: report.server, os, name, message: report.message };
      }),
  };
}

/** By their names, without those that were not given. Bytes are a text. */
function argumentsOf(names, given) {
  const its = Object.fromEntries(names.map((name, index) => [name, given[index]]));
  const { options, content, ...others } = its;
  const all = { ...others, ...options };
  if (content?.tag === "bytes") all.bytes = content.val;
  if (content?.tag === "build-package") all.package = content.val;
  if (all.environment) all.environment = Object.fromEntries(all.environment);
  for (const [name, value] of Object.entries(all)) {
    if (value instanceof Uint8Array) all[name] = new TextDecoder().decode(value);
    if (value === undefined || all[name] === "" || (Array.isArray(value) && value.length === 0)) delete all[name];
  }
  return all;
}

function report(server, { stdout = "", stderr = "", exitCode = 0, noResponse, unknown }) {
  const message = noResponse ?? unknown;
  const ended = exitCode === 0 ? "ok" : "failed";
  const outcome = noResponse !== undefined ? "no-response" : unknown !== undefined ? "unknown" : ended;
  const code = message === undefined ? exitCode : undefined;
  const duration = message === undefined ? 0 : undefined;
  const told = { stdout, stderr, truncated: false, message, duration };
  return { server, outcome, exitCode: code, signal: undefined, timedOut: false, ...told };
}

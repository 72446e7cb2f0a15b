// Resolves `elita:plugin/…` where there is no component: each function asks the host of the test.

const HOST = new URL("./host.js", import.meta.url).href;

const FUNCTIONS = {
  actions: "get list run",
  applications: "get list create update delete census",
  builds: "get list files create update delete addPackage readPackage",
  "git-providers": "get list",
  "git-repos": "get list create update delete log diff",
  gitdeploys: "get list create update delete initialize deinitialize",
  groups: "get list create update delete",
  jobs: "current append progress cancelRequested get entries tail before standing",
  log: "write",
  "package-maps": "get list create update delete",
  remote:
    "ping operatingSystems run runScript createDirectory deleteDirectory deleteFile touch appendToFile pushFile gitClone " +
    "gitCheckout gitDiscardChanges gitAddAll gitCommit gitSetUser gitSetAutocrlf gitSetPushUrl gitPull",
  salt: "saltCommand runSls highstate",
  servers: "get list environments create update delete",
  types: "",
};

export async function resolve(specifier, context, next) {
  const name = interfaceOf(specifier);
  return name in FUNCTIONS ? { url: specifier, format: "module", shortCircuit: true } : next(specifier, context);
}

export async function load(url, context, next) {
  const name = interfaceOf(url);
  if (!(name in FUNCTIONS)) return next(url, context);
  const names = FUNCTIONS[name].split(" ").filter(Boolean);
  // `delete` is a word of the language: a local name of another kind is exported under it.
  const functions = names.map((each) => `const f_${each} = (...given) => ask("${name}", "${each}", given);`);
  const exported = `export { ${names.map((each) => `f_${each} as ${each}`).join(", ")} };`;
  const source = [`import { ask } from "${HOST}";`, ...functions, exported].join("\n");
  return { format: "module", shortCircuit: true, source };
}

function interfaceOf(specifier) {
  return /^elita:plugin\/([a-z-]+)(@.*)?$/.exec(specifier)?.[1];
}

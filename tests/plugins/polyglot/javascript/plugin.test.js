// The plugin on the host in memory does what it does on a server: `tests/it/languages.rs` has both.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Host } from "elita-plugin/testing"; // before the plugin

const { handler } = await import("./plugin.js");
const { deleteFile, operatingSystems, ping, touch } = await import("elita:plugin/remote@0.1.0");

test("it works on servers", async () => {
  const full = (called) => (called.function === "run" ? { stdout: "a\nin\nb c ***\n", exitCode: 3 } : {});
  const host = new Host().build("hostile", "one").server("web1", full);
  const result = await host.action(handler, "hostile", "OnServers");
  const reports = [["ok", 0, ""], ["ok", 0, ""], ["failed", 3, "a\nin\nb c ***\n"], ["ok", 0, ""]];
  assert.deepEqual(result, { system: ["web1", "unix", "Linux"], missing: "notfound", reports });
  const functions = host.called.map((called) => called.function);
  assert.deepEqual(functions, ["operatingSystems", "createDirectory", "pushFile", "run", "deleteDirectory"]);
  assert.deepEqual(host.called[2].arguments, { bytes: "a\n", path: "/opt/foobar/a", mode: 0o600 });
  assert.deepEqual(host.called[3].arguments, {
    command: ["sh", "-c", "cat a -; echo $A secret; exit 3"],
    directory: "/opt/foobar",
    environment: { A: "b c" },
    stdin: "in\n",
    timeoutSeconds: 30,
    secrets: ["secret"],
  });
});

test("a server may not answer, or not be there", () => {
  const host = new Host().server("web1", () => ({ noResponse: "it cannot be reached" })).server("web2");
  const [one, other] = host.run(() => operatingSystems(["web1", "web2"]));
  assert.deepEqual([one.os, one.message, other.os], [undefined, "it cannot be reached", "unix"]);
  const refused = (message, work) => assert.throws(() => host.run(work), { message });
  refused(/does not exist/, () => touch(["web3"], "/srv/a"));
  refused(/twice/, () => touch(["web1", "web1"], "/srv/a"));
  refused(/no server/, () => touch([], "/srv/a"));
  refused(/path/, () => deleteFile(["web1"], "srv/a"));
  refused(/path/, () => deleteFile(["web1"], "/srv/../a"));
  host.cancelled();
  refused(/asked to stop/, () => ping(["web1"]));
});

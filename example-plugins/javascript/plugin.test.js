// Tests of the plugin without a server: `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Host } from "elita-plugin/testing"; // before the plugin

const { handler } = await import("./plugin.js");
const { append } = await import("elita-plugin");

test("it says how far it is", async () => {
  const host = new Host().application("my_application");
  const result = await host.action(handler, "my_application", "DeleteWidgets", { testing: true, count: 10 });
  assert.deepEqual(result, { application: "my_application", deleted: 0, testing: true });
  assert.deepEqual(host.entries.map(({ progress }) => progress), [0, 45, 100]);
  assert.deepEqual(host.log[0], ["debug", "would delete widget 1"]);
});

test("it stops when asked to", async () => {
  const host = new Host().application("my_application").cancelled();
  const ran = host.action(handler, "my_application", "DeleteWidgets", { testing: false, count: 1 });
  await assert.rejects(ran, { message: "stopped before widget 1" });
});

test("it declares a build", async () => {
  const host = new Host().build("my_application", "124-master", { master: "an archive" });
  await host.upload(handler, "my_application", "124-master");
  assert.deepEqual(host.entries, [{ status: "declared", build: "124-master" }]);
});

test("a call of the host without one says so", () => {
  assert.throws(() => append("a"), { message: /^jobs\.append is a function of the host, and there is none in a test/ });
});

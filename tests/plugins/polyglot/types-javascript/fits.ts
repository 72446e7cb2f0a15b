// What the types of the helper module take, and what they do not: what stands after `@ts-expect-error` has to be refused.
// Nothing of it runs. `plugin.js`, beside which it is checked, reads all that the hooks of deployments have.

import { type ActionCall, Failure, type HookCall, type Json, append, plugin, progress } from "elita-plugin";
import { Host } from "elita-plugin/testing";

export const { registration, handler } = plugin({
  actions: {
    shop: [
      {
        name: "Close",
        description: "Closes the shop",
        parameters: [{ name: "hours", type: "integer", description: "for how long", optional: true }],
        idempotent: true,
        timeoutSeconds: 5,
        run: close,
      },
      // @ts-expect-error an action has a description
      { name: "Open", run: () => null },
      // @ts-expect-error a function cannot be written as JSON
      { name: "Sell", description: "Sells", run: () => ({ callback: () => 1 }) },
    ],
  },
  hooks: {
    shop: {
      BUILD_UPLOAD_SUCCESS: (call) => {
        const { build_name, storage_dir, filename, file_type, packages } = call.parameters;
        append([build_name, storage_dir, filename, file_type]);
        const bytes: number = packages["master"].size_bytes;
        // @ts-expect-error it is `build_name`
        append(call.parameters.build);
        // @ts-expect-error a size is a number
        const text: string = packages["master"].size_bytes;
        return { bytes, text };
      },
      GITDEPLOY_INIT_PRE: (call) => {
        // @ts-expect-error the list is of names
        call.parameters.server_list[0].name;
      },
      GITDEPLOY_COMMIT_DIFF: (call) => {
        const [change] = call.parameters.changes;
        // @ts-expect-error lines are not counted in every file
        const lines: number = change.insertions;
        return lines;
      },
      AUTO_DEPLOYMENT_START: (call) => {
        // @ts-expect-error there is no batch yet
        append(call.parameters.batch_number);
      },
      AUTO_DEPLOYMENT_BATCH_BEGIN: async (call) => {
        const next: number = call.parameters.batch_number + 1;
        await Promise.resolve();
        return `${next} of ${call.parameters.batch_count}`;
      },
      AUTO_DEPLOYMENT_COMPLETE: (call) => {
        // @ts-expect-error nothing has failed
        append(call.parameters.error);
      },
      // @ts-expect-error the parameters are those of another hook
      AUTO_DEPLOYMENT_FAILED: (call: HookCall<{ server_list: string[] }>) => call.parameters.server_list,
      // What another plugin or a newer server fires has parameters of any kind.
      SOMETHING_NEW: (call) => call.parameters.anything,
    },
  },
});

async function close(call: ActionCall): Promise<Json> {
  const hours: number | undefined = call.optionalInteger("hours", 1, 24);
  // @ts-expect-error it may be missing
  const twice: number = 2 * hours;
  const value: Json | undefined = call.value("for");
  const seq: bigint = progress(45.5, "closing");
  // @ts-expect-error progress is a number
  progress("45", "closing");
  if (value === undefined) throw new Failure("it is closed", { hours: 3 }, { cause: new Error("night") });
  return { twice, value, user: call.user ?? null, seq: Number(seq) };
}

export async function tests(): Promise<void> {
  const host = new Host().application("shop").build("shop", "1", { attributes: { tested: true }, master: "PK" });
  const result: Json = await host.action(handler, "shop", "Close", { hours: 3 });
  await host.upload(handler, "shop", "1");
  host.server("web1", (called) => ({ exitCode: called.servers.length, stdout: called.function }));
  // @ts-expect-error an exit code is a number
  host.server("web2", () => ({ exitCode: "0" }));
  append({ result, entries: host.entries });
}

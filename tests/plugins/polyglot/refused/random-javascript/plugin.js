// A random number that would be the same in every run, because it is drawn when the plugin is built.

import { plugin } from "elita-plugin";

const TOKEN = crypto.randomUUID();

export const { registration, handler } = plugin({
  actions: { my_application: [{ name: "Token", description: "Says which it is", run: () => TOKEN }] },
});

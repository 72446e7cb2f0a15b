// A native extension: it is never even read.

import { plugin } from "elita-plugin";
import { press } from "./press.node";

export const { registration, handler } = plugin({
  actions: { my_application: [{ name: "Press", description: "Presses a widget", run: () => press() }] },
});

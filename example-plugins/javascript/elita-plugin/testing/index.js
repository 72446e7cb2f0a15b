// Takes the host's place in tests with Node.js. What it offers is described in index.d.ts.

import { register } from "node:module";

register("./hooks.js", import.meta.url);

export { Host, NoHost } from "./host.js";

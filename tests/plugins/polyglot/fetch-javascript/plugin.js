// What the web's own functions do in a plugin that is built with them.

import { plugin } from "elita-plugin";

export const { registration, handler } = plugin({
  actions: {
    my_application: [
      { name: "Fetch", description: "Fetches a URL", run: fetchUrl },
      { name: "Pause", description: "Waits for a timer, and says for how long", run: pause },
      { name: "Digest", description: "Digests a text", run: digest },
      { name: "Random", description: "Two numbers that nobody can guess", run: () => [crypto.randomUUID(), Math.random()] },
    ],
  },
});

async function fetchUrl(call) {
  const response = await fetch(call.text("url"));
  return { status: response.status, text: await response.text() };
}

async function pause() {
  const began = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 300));
  return Date.now() - began;
}

async function digest(call) {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(call.text("text")));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What the web's own functions do in a plugin that is built with them.

import axios from "axios";
import { plugin } from "elita-plugin";

// Of when it was built: it is the same in each run. Random numbers cannot be drawn here, the build fails.
const BUILT = Date.now();

export const { registration, handler } = plugin({
  actions: {
    my_application: [
      { name: "Fetch", description: "Fetches a URL", run: fetchUrl },
      { name: "Axios", description: "Fetches a URL by axios, which sends it by fetch", run: fetchUrlByAxios },
      { name: "Pause", description: "Waits for a timer, and says for how long", run: pause },
      { name: "Digest", description: "Digests a text", run: digest },
      { name: "Works", description: "Tries what the guide says", run: works },
      { name: "Random", description: "Two numbers that nobody can guess", run: () => [crypto.randomUUID(), Math.random()] },
    ],
  },
});

async function fetchUrl(call) {
  const response = await fetch(call.text("url"));
  return { status: response.status, text: await response.text() };
}

async function fetchUrlByAxios(call) {
  const { status, data } = await axios.get(call.text("url"));
  return { status, text: data };
}

async function works() {
  const began = Date.now();
  const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
  await Promise.all([pause(), pause()]);
  const slept = Date.now() - began;
  const summer = new Date(Date.UTC(2026, 6, 1, 12));
  return {
    random: String(Math.random()),
    built: BUILT,
    clock: Math.floor(Date.now() / 1000),
    slept,
    together: slept < 190,
    offset: summer.getTimezoneOffset(),
    berlin: tried(() => summer.toLocaleString("en-GB", { timeZone: "Europe/Berlin" })),
    absent: ["Intl", "process", "require", "XMLHttpRequest", "WebSocket", "Worker"].filter((name) => !(name in globalThis)),
  };
}

function tried(work) {
  try {
    return work();
  } catch (error) {
    return String(error);
  }
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

// Greets people, and notes builds.

import { append, plugin } from "elita-plugin";
import { get as getBuild } from "elita:plugin/builds@0.1.0";

export const { registration, handler } = plugin({
  actions: {
    my_application: [
      {
        name: "MyAction",
        description: "Greets someone",
        parameters: [{ name: "name", type: "string", description: "whom to greet" }],
        run: greet,
      },
    ],
  },
  hooks: {
    my_application: { BUILD_UPLOAD_SUCCESS: noteBuild },
  },
});

function greet(call) {
  const name = call.text("name");
  append({ status: "greeting", whom: name });
  return hasBuild(call.application, name) ? `hello, ${name}` : `hello, stranger called ${name}`;
}

function hasBuild(application, build) {
  try {
    getBuild(application, build);
    return true;
  } catch (error) {
    if (error.payload?.tag === "not-found") return false;
    throw error;
  }
}

function noteBuild(call) {
  append({ status: "noted", build: call.parameters.build_name });
}

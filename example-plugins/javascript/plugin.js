// An action that takes its time: it says how far it is, and stops when it is asked to. And a hook.

import { Failure, append, plugin, progress } from "elita-plugin";
import { get as getApplication } from "elita:plugin/applications@0.1.0";
import { cancelRequested } from "elita:plugin/jobs@0.1.0";
import { write } from "elita:plugin/log@0.1.0";

export const { registration, handler } = plugin({
  actions: {
    my_application: [
      {
        name: "DeleteWidgets",
        description: "Deletes widgets",
        parameters: [
          {
            name: "testing",
            type: "boolean (string)",
            description: "do not delete widgets for real (true or false)",
          },
          { name: "count", type: "integer", description: "number of widgets to delete" },
        ],
        run: deleteWidgets,
      },
    ],
  },
  hooks: {
    my_application: { BUILD_UPLOAD_SUCCESS: declareUploadedBuild },
  },
});

// How many widgets there are.
const STOCK = 1000;

// Deletes widgets, one after the other. What it returns is the job's result, once all that it awaits is done.
async function deleteWidgets(call) {
  const testing = call.boolean("testing");
  const count = widgetCount(call);
  const application = getApplication(call.application);

  let deleted = 0;
  progress(0, "starting");
  for (let number = 1; number <= count; number++) {
    if (cancelRequested()) {
      throw new Failure(`stopped before widget ${number}`, { deleted });
    }
    if (number === Math.ceil(count / 2)) {
      progress(45, "frobnicating the foobar");
    }
    if (testing) {
      write("debug", `would delete widget ${number}`);
    } else {
      await deleteWidget(number);
      deleted += 1;
    }
  }
  progress(100, "finished");

  return { application: application.name, deleted, testing };
}

function widgetCount(call) {
  const count = call.integer("count");
  if (count > STOCK) {
    throw new Failure(`there are ${STOCK} widgets, ${count} cannot be deleted`);
  }
  return count;
}

// Stands for the real work. The log is for operators; users see the job's entries.
async function deleteWidget(number) {
  write("info", `deleting widget ${number}`);
}

// Tells the job of an upload which build it was.
function declareUploadedBuild(call) {
  append({ status: "declared", build: call.parameters.build_name });
}

// Greets people, and notes builds.

#include "elita.h"

#include <stdlib.h>

static bool greet(const action_call_t *call, text_t *result, failure_t *why) {
    text_t name;
    if (!parameter_text(call, "name", &name, why)) return false;
    if (!append(text("{\"status\":\"greeting\",\"whom\":%q}", name), why)) return false;
    *result = text("%q", text("hello, stranger called %s", name));
    return true;
}

static bool note_build(const hook_call_t *call, text_t *result, failure_t *why) {
    text_t build;
    if (!json_member(call->parameters, "build_name", &build)) return fail(why, text("the build has no name"));
    *result = text("null");
    return append(text("{\"status\":\"noted\",\"build\":%s}", build), why);
}

bool exports_elita_plugin_handler_run_action(action_call_t *call, text_t *result, failure_t *why) {
    return greet(call, result, why);
}

bool exports_elita_plugin_handler_run_hook(hook_call_t *call, text_t *result, failure_t *why) {
    return note_build(call, result, why);
}

void exports_elita_plugin_registration_register_actions(exports_elita_plugin_registration_list_application_actions_t *all) {
    exports_elita_plugin_registration_parameter_t *name = calloc(1, sizeof *name);
    *name = (exports_elita_plugin_registration_parameter_t){text("name"), text("string"), text("whom to greet")};

    exports_elita_plugin_registration_action_t *action = calloc(1, sizeof *action);
    action->name = text("MyAction");
    action->description = text("Greets someone");
    action->parameters = (exports_elita_plugin_registration_list_parameter_t){name, 1};

    exports_elita_plugin_registration_application_actions_t *application = calloc(1, sizeof *application);
    *application = (exports_elita_plugin_registration_application_actions_t){text("my_application"), {action, 1}};
    *all = (exports_elita_plugin_registration_list_application_actions_t){application, 1};
}

void exports_elita_plugin_registration_register_hooks(exports_elita_plugin_registration_list_application_hooks_t *all) {
    text_t *hook = calloc(1, sizeof *hook);
    *hook = text("BUILD_UPLOAD_SUCCESS");

    exports_elita_plugin_registration_application_hooks_t *application = calloc(1, sizeof *application);
    *application = (exports_elita_plugin_registration_application_hooks_t){text("my_application"), {hook, 1}};
    *all = (exports_elita_plugin_registration_list_application_hooks_t){application, 1};
}

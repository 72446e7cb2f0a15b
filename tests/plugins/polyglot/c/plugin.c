// What `misbehave` does, as far as languages differ in it: how a run fails, and what one costs.

#include "elita.h"

#include <stdlib.h>

__attribute__((noinline)) static void deep_inside_the_plugin(volatile bool *is_jammed) {
    if (*is_jammed) abort();
}

__attribute__((noinline)) static void on_the_way_down(volatile bool *is_jammed) {
    deep_inside_the_plugin(is_jammed);
    // So that the call above does not become a jump, which no backtrace shows.
    *is_jammed = false;
}

bool exports_elita_plugin_handler_run_action(action_call_t *call, text_t *result, failure_t *why) {
    if (is(call->action, "Ask")) {
        *result = text(elita_plugin_jobs_cancel_requested() ? "true" : "false");
        return true;
    }
    if (is(call->action, "Fail")) {
        fail(why, text("the widget press is jammed"));
        why->details.is_some = true;
        why->details.val = text("{\"press\":42,\"widgets\":[\"left\",\"right\"]}");
        return false;
    }
    if (is(call->action, "Panic")) {
        volatile bool is_jammed = true;
        on_the_way_down(&is_jammed);
    }
    *result = text("null");
    return true;
}

bool exports_elita_plugin_handler_run_hook(hook_call_t *call, text_t *result, failure_t *why) {
    (void)result;
    return fail(why, text("there is no hook `%s`", call->hook));
}

static const char *const ACTIONS[][2] = {
    {"Noop", "Does nothing"},
    {"Ask", "Asks once whether to stop"},
    {"Fail", "Fails as is to be expected"},
    {"Panic", "Fails as nobody expects"},
};
enum { ACTION_COUNT = sizeof ACTIONS / sizeof *ACTIONS };

void exports_elita_plugin_registration_register_actions(exports_elita_plugin_registration_list_application_actions_t *all) {
    exports_elita_plugin_registration_action_t *actions = calloc(ACTION_COUNT, sizeof *actions);
    for (size_t i = 0; i < ACTION_COUNT; i++) {
        actions[i].name = text(ACTIONS[i][0]);
        actions[i].description = text(ACTIONS[i][1]);
    }
    exports_elita_plugin_registration_application_actions_t *application = calloc(1, sizeof *application);
    *application = (exports_elita_plugin_registration_application_actions_t){text("hostile"), {actions, ACTION_COUNT}};
    *all = (exports_elita_plugin_registration_list_application_actions_t){application, 1};
}

void exports_elita_plugin_registration_register_hooks(exports_elita_plugin_registration_list_application_hooks_t *all) {
    *all = (exports_elita_plugin_registration_list_application_hooks_t){NULL, 0};
}

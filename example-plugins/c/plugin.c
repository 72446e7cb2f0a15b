// An action that takes its time: it says how far it is, and stops when it is asked to. And a hook.

#include "elita.h"

#include <stdlib.h>

// How many widgets there are.
static const uint32_t STOCK = 1000;

static bool get_application(text_t name, elita_plugin_applications_application_t *application, failure_t *why) {
    elita_plugin_types_error_t answer;
    return elita_plugin_applications_get(&name, application, &answer) || fail(why, sentence(answer));
}

// --- the action and the hook --------------------------------------------------------------------------

static bool widget_count(const action_call_t *call, uint32_t *count, failure_t *why) {
    if (!parameter_integer(call, "count", count, why)) return false;
    if (*count <= STOCK) return true;
    return fail(why, text("there are %u widgets, %u cannot be deleted", STOCK, *count));
}

// Stands for the real work. The log is for operators; users see the job's entries.
static void delete_widget(uint32_t number) {
    text_t line = text("deleting widget %u", number);
    elita_plugin_log_write(ELITA_PLUGIN_LOG_LEVEL_INFO, &line);
}

// Deletes widgets, one after the other. What it leaves in `result` is the job's result.
static bool delete_widgets(const action_call_t *call, text_t *result, failure_t *why) {
    bool testing;
    uint32_t count, deleted = 0;
    elita_plugin_applications_application_t application;
    if (!parameter_boolean(call, "testing", &testing, why)) return false;
    if (!widget_count(call, &count, why)) return false;
    if (!get_application(call->application, &application, why)) return false;

    if (!progress(0, "starting", why)) return false;
    for (uint32_t number = 1; number <= count; number++) {
        if (elita_plugin_jobs_cancel_requested()) {
            fail(why, text("stopped before widget %u", number));
            why->details.is_some = true;
            why->details.val = text("{\"deleted\":%u}", deleted);
            return false;
        }
        if (number == (count + 1) / 2 && !progress(45, "frobnicating the foobar", why)) return false;
        if (testing) {
            text_t line = text("would delete widget %u", number);
            elita_plugin_log_write(ELITA_PLUGIN_LOG_LEVEL_DEBUG, &line);
        } else {
            delete_widget(number);
            deleted++;
        }
    }
    if (!progress(100, "finished", why)) return false;

    *result = text("{\"application\":%q,\"deleted\":%u,\"testing\":%s}", application.name, deleted,
                   text(testing ? "true" : "false"));
    return true;
}

// Tells the job of an upload which build it was.
static bool declare_uploaded_build(const hook_call_t *call, text_t *result, failure_t *why) {
    text_t build;
    if (!json_member(call->parameters, "build_name", &build)) return fail(why, text("the build has no name"));
    if (!append(text("{\"status\":\"declared\",\"build\":%s}", build), why)) return false;
    *result = text("null");
    return true;
}

// --- what the component exports -----------------------------------------------------------------------

typedef exports_elita_plugin_registration_application_actions_t application_actions_t;
typedef exports_elita_plugin_registration_application_hooks_t application_hooks_t;
typedef exports_elita_plugin_registration_action_t action_t;
typedef exports_elita_plugin_registration_parameter_t parameter_t;

void exports_elita_plugin_registration_register_actions(exports_elita_plugin_registration_list_application_actions_t *all) {
    parameter_t *parameters = calloc(2, sizeof *parameters);
    parameters[0] = (parameter_t){
        text("testing"), text("boolean (string)"), text("do not delete widgets for real (true or false)")};
    parameters[1] = (parameter_t){text("count"), text("integer"), text("number of widgets to delete")};

    action_t *action = calloc(1, sizeof *action);
    action->name = text("DeleteWidgets");
    action->description = text("Deletes widgets");
    action->parameters = (exports_elita_plugin_registration_list_parameter_t){parameters, 2};

    application_actions_t *application = calloc(1, sizeof *application);
    *application = (application_actions_t){text("my_application"), {action, 1}};
    *all = (exports_elita_plugin_registration_list_application_actions_t){application, 1};
}

void exports_elita_plugin_registration_register_hooks(exports_elita_plugin_registration_list_application_hooks_t *all) {
    text_t *hook = calloc(1, sizeof *hook);
    *hook = text("BUILD_UPLOAD_SUCCESS");

    application_hooks_t *application = calloc(1, sizeof *application);
    *application = (application_hooks_t){text("my_application"), {hook, 1}};
    *all = (exports_elita_plugin_registration_list_application_hooks_t){application, 1};
}

bool exports_elita_plugin_handler_run_action(action_call_t *call, text_t *result, failure_t *why) {
    if (is(call->action, "DeleteWidgets")) return delete_widgets(call, result, why);
    return fail(why, text("there is no action `%s`", call->action));
}

bool exports_elita_plugin_handler_run_hook(hook_call_t *call, text_t *result, failure_t *why) {
    if (is(call->hook, "BUILD_UPLOAD_SUCCESS")) return declare_uploaded_build(call, result, why);
    return fail(why, text("there is no hook `%s`", call->hook));
}

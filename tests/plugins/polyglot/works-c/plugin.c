// What works in C, and what does not: tries one thing after the other, and returns what came of each.

#include "elita.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char *tried(bool works) {
    return works ? "it works" : strerror(errno);
}

static void *in_a_thread(void *given) {
    return given;
}

bool exports_elita_plugin_handler_run_action(action_call_t *call, text_t *result, failure_t *why) {
    if (is(call->action, "Trap")) {
        printf("about to trap");
        abort();
    }
    unsigned long long drawn;
    if (getentropy(&drawn, sizeof drawn) != 0) return fail(why, text("there are no random numbers"));

    struct timespec began, ended, pause = {0, 60 * 1000 * 1000};
    clock_gettime(CLOCK_MONOTONIC, &began);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    long slept = (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000;

    // Noon of a day in summer.
    time_t noon = 1782907200;
    struct tm local, universal;
    localtime_r(&noon, &local);
    gmtime_r(&noon, &universal);

    const char *write = tried(fopen("/tmp/a", "w") != NULL);
    const char *list = tried(opendir("/") != NULL);
    pthread_t other;
    errno = pthread_create(&other, NULL, in_a_thread, NULL);
    const char *thread = tried(errno == 0);
    int variables = 0;
    while (environ[variables] != NULL) variables++;

    char told[512];
    snprintf(told, sizeof told,
             "{\"random\":\"%016llx\",\"clock\":%lld,\"slept\":%ld,\"offset\":%d,\"write\":\"%s\",\"list\":\"%s\","
             "\"thread\":\"%s\",\"environment\":[%s]}",
             drawn, (long long)time(NULL), slept, (local.tm_hour - universal.tm_hour) * 3600, write, list, thread,
             variables == 0 ? "" : "\"some\"");
    // `text` takes literals; this is one for it.
    *result = text(told);
    return true;
}

// Reads the file of a build, and tries to write beside it.
bool exports_elita_plugin_handler_run_hook(hook_call_t *call, text_t *result, failure_t *why) {
    text_t directory, filename;
    if (!json_member(call->parameters, "storage_dir", &directory) || !json_member(call->parameters, "filename", &filename))
        return fail(why, text("the build has no file"));
    // They are JSON, with quotes around them.
    char path[512], beside[512], told[256], first[3] = "";
    snprintf(path, sizeof path, "%.*s/%.*s", (int)directory.len - 2, (char *)directory.ptr + 1, (int)filename.len - 2,
             (char *)filename.ptr + 1);
    snprintf(beside, sizeof beside, "%.*s/beside", (int)directory.len - 2, (char *)directory.ptr + 1);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(first, 1, 2, file) != 2) return fail(why, text("the file cannot be read"));
    snprintf(told, sizeof told, "{\"first\":\"%s\",\"write\":\"%s\"}", first, tried(fopen(beside, "w") != NULL));
    *result = text(told);
    return true;
}

void exports_elita_plugin_registration_register_actions(exports_elita_plugin_registration_list_application_actions_t *all) {
    exports_elita_plugin_registration_action_t *actions = calloc(2, sizeof *actions);
    actions[0].name = text("Works");
    actions[0].description = text("Tries what the guide says");
    actions[1].name = text("Trap");
    actions[1].description = text("Says something, and traps");
    exports_elita_plugin_registration_application_actions_t *application = calloc(1, sizeof *application);
    *application = (exports_elita_plugin_registration_application_actions_t){text("works"), {actions, 2}};
    *all = (exports_elita_plugin_registration_list_application_actions_t){application, 1};
}

void exports_elita_plugin_registration_register_hooks(exports_elita_plugin_registration_list_application_hooks_t *all) {
    text_t *hook = calloc(1, sizeof *hook);
    *hook = text("BUILD_UPLOAD_SUCCESS");
    exports_elita_plugin_registration_application_hooks_t *application = calloc(1, sizeof *application);
    *application = (exports_elita_plugin_registration_application_hooks_t){text("works"), {hook, 1}};
    *all = (exports_elita_plugin_registration_list_application_hooks_t){application, 1};
}

// A plugin that opens a socket and starts a process.

#include "elita.h"

#include <sys/socket.h>
#include <unistd.h>

bool exports_elita_plugin_handler_run_action(action_call_t *call, text_t *result, failure_t *why) {
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    return fork() == 0 && connection > 0;
}

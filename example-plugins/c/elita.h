// What a C plugin wants beside the bindings: texts, parameters, entries of the job's log, and the parts of JSON.
//
// Every call gets a fresh instance, so that nothing has to be freed. What is returned to the host is freed by the
// bindings: it has to come from `text` or malloc, and be no literal.

#pragma once

#include "bindings/widgets.h"

typedef widgets_string_t text_t;
typedef exports_elita_plugin_handler_action_call_t action_call_t;
typedef exports_elita_plugin_handler_hook_call_t hook_call_t;
typedef exports_elita_plugin_handler_failure_t failure_t;

// A new text: `%s` is a text_t, `%q` one as a JSON string, `%u` an uint32_t. (printf would import half of WASI.)
text_t text(const char *format, ...);

// Whether a text is the same as a literal.
bool is(text_t value, const char *literal);

// Says why a function failed, and is false, so that the function can return it.
bool fail(failure_t *why, text_t message);

// Parameters that must be there exactly once. False: they are not what was asked for, and `why` says so.
bool parameter_text(const action_call_t *call, const char *name, text_t *value, failure_t *why);
bool parameter_boolean(const action_call_t *call, const char *name, bool *value, failure_t *why);
bool parameter_integer(const action_call_t *call, const char *name, uint32_t *value, failure_t *why);

// The host's answer where it did not do what it was asked, as a sentence.
text_t sentence(elita_plugin_types_error_t answer);

// Adds an entry to the job's log, for its users to see. False: the host did not take it, and `why` says so.
bool append(text_t json, failure_t *why);
// Adds the entry {"status": status, "progress": percent}.
bool progress(uint8_t percent, const char *status, failure_t *why);

// The JSON of one member of an object. False: there is none by that name.
bool json_member(text_t object, const char *name, text_t *value);

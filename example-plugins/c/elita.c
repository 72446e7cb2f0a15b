#include "elita.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// If the plugin uses standard output, what it prints is not kept back: a trap would lose it.
#undef stdout
extern __attribute__((weak)) FILE *const stdout;
__attribute__((constructor)) static void keep_nothing_back(void) {
    if (&stdout != NULL) setvbuf(stdout, NULL, _IONBF, 0);
}

// How many characters of a value an error message shows.
static const size_t SHOWN_CHARACTERS = 64;

// --- texts --------------------------------------------------------------------------------------------

static void add(text_t *to, const void *bytes, size_t len) {
    to->ptr = realloc(to->ptr, to->len + len);
    if (to->ptr == NULL) __builtin_trap();
    memcpy(to->ptr + to->len, bytes, len);
    to->len += len;
}

static void add_number(text_t *to, uint32_t number) {
    char digits[10];
    size_t at = sizeof digits;
    do digits[--at] = '0' + number % 10;
    while (number /= 10);
    add(to, digits + at, sizeof digits - at);
}

static void add_quoted(text_t *to, text_t value) {
    add(to, "\"", 1);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.ptr[i];
        if (byte < 0x20) {
            const char hex[] = "0123456789abcdef";
            char escaped[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
            add(to, escaped, sizeof escaped);
        } else {
            if (byte == '"' || byte == '\\') add(to, "\\", 1);
            add(to, &byte, 1);
        }
    }
    add(to, "\"", 1);
}

text_t text(const char *format, ...) {
    text_t made = {malloc(1), 0};
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            add(&made, format, 1);
            continue;
        }
        switch (*++format) {
            case 's': {
                text_t value = va_arg(arguments, text_t);
                add(&made, value.ptr, value.len);
                break;
            }
            case 'q': add_quoted(&made, va_arg(arguments, text_t)); break;
            case 'u': add_number(&made, va_arg(arguments, uint32_t)); break;
            default: __builtin_trap();
        }
    }
    va_end(arguments);
    return made;
}

bool is(text_t value, const char *literal) {
    return value.len == strlen(literal) && memcmp(value.ptr, literal, value.len) == 0;
}

bool fail(failure_t *why, text_t message) {
    *why = (failure_t){.message = message};
    return false;
}

// --- parameters ---------------------------------------------------------------------------------------

// A value as an error message shows it.
static text_t shown(text_t value) {
    size_t characters = 0;
    for (size_t i = 0; i < value.len; i++) {
        bool begins_character = (value.ptr[i] & 0xc0) != 0x80;
        if (begins_character && characters++ == SHOWN_CHARACTERS) return text("%s…", (text_t){value.ptr, i});
    }
    return value;
}

bool parameter_text(const action_call_t *call, const char *name, text_t *value, failure_t *why) {
    uint32_t found = 0;
    for (size_t i = 0; i < call->parameters.len; i++) {
        if (!is(call->parameters.ptr[i].f0, name)) continue;
        *value = call->parameters.ptr[i].f1;
        found++;
    }
    if (found == 1) return true;
    if (found == 0) return fail(why, text("parameter `%s` is missing", text(name)));
    return fail(why, text("parameter `%s`: given %u times, and one value is expected", text(name), found));
}

static bool same_letters(text_t value, const char *lower) {
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.ptr[i];
        if (byte >= 'A' && byte <= 'Z') byte += 'a' - 'A';
        if (byte != (uint8_t)lower[i]) return false;
    }
    return lower[value.len] == '\0';
}

bool parameter_boolean(const action_call_t *call, const char *name, bool *value, failure_t *why) {
    text_t given;
    if (!parameter_text(call, name, &given, why)) return false;
    *value = same_letters(given, "true");
    if (*value || same_letters(given, "false")) return true;
    return fail(why, text("parameter `%s`: `%s` is not true or false", text(name), shown(given)));
}

bool parameter_integer(const action_call_t *call, const char *name, uint32_t *value, failure_t *why) {
    text_t given;
    if (!parameter_text(call, name, &given, why)) return false;
    size_t at = given.len > 1 && given.ptr[0] == '+';
    bool good = at < given.len;
    uint64_t number = 0;
    for (; good && at < given.len; at++) {
        number = number * 10 + given.ptr[at] - '0';
        good = given.ptr[at] >= '0' && given.ptr[at] <= '9' && number <= UINT32_MAX;
    }
    *value = number;
    return good || fail(why, text("parameter `%s`: `%s` is not an integer of 0 to 4294967295", text(name), shown(given)));
}

// --- the host -----------------------------------------------------------------------------------------

// Each case of the errors carries a sentence, which is in the same place.
text_t sentence(elita_plugin_types_error_t answer) { return answer.val.other; }

bool append(text_t json, failure_t *why) {
    uint64_t number;
    elita_plugin_types_error_t answer;
    return elita_plugin_jobs_append(&json, &number, &answer) || fail(why, sentence(answer));
}

bool progress(uint8_t percent, const char *status, failure_t *why) {
    text_t status_text = text(status);
    uint64_t number;
    elita_plugin_types_error_t answer;
    return elita_plugin_jobs_progress(percent, &status_text, &number, &answer) || fail(why, sentence(answer));
}

// --- JSON ---------------------------------------------------------------------------------------------

// Where the string that begins at `at` is over.
static size_t string_end(text_t json, size_t at) {
    for (at++; at < json.len && json.ptr[at] != '"'; at++) {
        if (json.ptr[at] == '\\') at++;
    }
    return at + 1;
}

// Where the value that begins at `at` is over: at the next `,`, `}` or `]` that is not within it.
static size_t value_end(text_t json, size_t at) {
    for (size_t depth = 0; at < json.len;) {
        uint8_t byte = json.ptr[at];
        if (byte == '"') {
            at = string_end(json, at);
            continue;
        }
        if (depth == 0 && (byte == ',' || byte == '}' || byte == ']')) break;
        if (byte == '{' || byte == '[') depth++;
        if (byte == '}' || byte == ']') depth--;
        at++;
    }
    return at;
}

bool json_member(text_t object, const char *name, text_t *value) {
    for (size_t at = 1; at < object.len; at++) {
        if (object.ptr[at] != '"') continue;
        size_t key = at + 1, key_end = string_end(object, at) - 1;
        for (at = key_end + 1; at < object.len && object.ptr[at] != ':'; at++);
        size_t end = value_end(object, at + 1);
        if (end > object.len) return false;
        *value = (text_t){object.ptr + at + 1, end - at - 1};
        if (is((text_t){object.ptr + key, key_end - key}, name)) return true;
        at = end;
    }
    return false;
}

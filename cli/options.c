/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void print_help(const struct command *command, const struct option *options)
{
    printf("usage: colt5 %s%s%s [OPTION…]\n\n%s.\n\n", command->name, *command->operands ? " " : "",
           command->operands, command->summary);
    for (; options->name; options++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", options->name, options->operand ? " " : "",
                 options->operand ? options->operand : "");
        printf("  %-26s %s\n", left, options->help);
    }
    printf("  %-26s %s\n", "--help", "this text");
}

static bool parse_unsigned(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static bool parse_type(const char *text, colt5_type *type)
{
    for (*type = COLT5_F32; *type <= COLT5_BF16; ++*type)
        if (!strcmp(text, colt5_type_name(*type))) return true;
    return false;
}

static bool parse_real(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

/* Whether text is one of the words of "md|csv|json". */
static bool is_word(const char *words, const char *text)
{
    const size_t length = strlen(text);
    for (; *words; words += *words == '|') {
        const size_t word = strcspn(words, "|");
        if (word == length && !strncmp(words, text, length)) return true;
        words += word;
    }
    return false;
}

static bool append(struct list *list, const char *text)
{
    if (list->count == sizeof(list->items) / sizeof(list->items[0])) return false;
    list->items[list->count++] = text;
    return true;
}

const char *math_name(colt5_math math)
{
    return math == COLT5_MATH_FAST ? "fast" : "strict";
}

/* The operand of an option into its value; what it should have been, or NULL when it was. */
static const char *set_option(const struct option *option, const char *text)
{
    uint64_t number;
    switch (option->kind) {
    case OPTION_FLAG:
        return NULL;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return NULL;
    case OPTION_WORD:
        *(const char **)option->value = text;
        return is_word(option->operand, text) ? NULL : option->operand;
    case OPTION_COUNT:
        if (!parse_unsigned(text, &number) || number == 0 || number > SIZE_MAX)
            return "a whole number of 1 or more";
        *(size_t *)option->value = (size_t)number;
        return NULL;
    case OPTION_SEED:
        return parse_unsigned(text, option->value) ? NULL : "a whole number below 2^64";
    case OPTION_REAL:
        return parse_real(text, option->value) ? NULL : "a number";
    case OPTION_TYPE:
        return parse_type(text, option->value) ? NULL : "f32, f16 or bf16";
    case OPTION_MATH:
        *(colt5_math *)option->value = strcmp(text, "fast") ? COLT5_MATH_STRICT : COLT5_MATH_FAST;
        return !strcmp(text, math_name(*(colt5_math *)option->value)) ? NULL : "strict or fast";
    case OPTION_LIST:
        return append(option->value, text) ? NULL : "given at most 64 times";
    }
    return "known";
}

static const struct option *find_option(const struct option *options, const char *name,
                                        size_t length)
{
    for (; options->name; options++)
        if (strlen(options->name) == length && !strncmp(options->name, name, length))
            return options;
    return NULL;
}

/* One "--name", "--name operand" or "--name=operand"; *i moves on. False after a message. */
static bool parse_one(const struct command *command, const struct option *options, int count,
                      char **arguments, int *i)
{
    const char *name = arguments[*i] + 2, *equals = strchr(name, '=');
    const size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find_option(options, name, length);
    if (!option) {
        complain("%s has no option --%.*s; `colt5 %s --help` lists them", command->name,
                 (int)length, name, command->name);
        return false;
    }
    if (option->given) *option->given = true;
    if (option->kind == OPTION_FLAG) {
        *(bool *)option->value = true;
        if (equals) complain("--%s takes no operand", option->name);
        return !equals;
    }
    if (!equals && *i + 1 == count) {
        complain("--%s wants %s", option->name, option->operand);
        return false;
    }
    const char *text = equals ? equals + 1 : arguments[++*i];
    const char *wanted = set_option(option, text);
    if (wanted) complain("--%s is \"%s\", not %s", option->name, text, wanted);
    return !wanted;
}

static bool check_operands(const struct command *command, const struct operands *operands,
                           size_t least, size_t most)
{
    if (operands->count >= least && operands->count <= most) return true;
    if (operands->count > most)
        complain("%s is one operand too many; `colt5 %s --help` says more", operands->items[most],
                 command->name);
    else
        complain("%s wants %s; `colt5 %s --help` says more", command->name, command->operands,
                 command->name);
    return false;
}

bool parse_options(const struct command *command, const struct option *options, int count,
                   char **arguments, size_t least, size_t most, struct operands *operands,
                   int *code)
{
    bool only_operands = false;
    *operands = (struct operands){.count = 0};
    *code = EXIT_USAGE;
    for (int i = 0; i < count; i++) {
        const char *argument = arguments[i];
        if (!only_operands && !strcmp(argument, "--")) {
            only_operands = true;
        } else if (!only_operands && (!strcmp(argument, "--help") || !strcmp(argument, "-h"))) {
            print_help(command, options);
            *code = EXIT_FINE;
            return false;
        } else if (!only_operands && argument[0] == '-' && argument[1] == '-') {
            if (!parse_one(command, options, count, arguments, &i)) return false;
        } else if (!only_operands && argument[0] == '-' && argument[1]) {
            complain("there is no option %s", argument);
            return false;
        } else if (operands->count == sizeof(operands->items) / sizeof(operands->items[0])) {
            complain("there are too many operands");
            return false;
        } else
            operands->items[operands->count++] = argument;
    }
    return check_operands(command, operands, least, most);
}

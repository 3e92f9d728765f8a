/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli.h"
#include "commands.h"

const struct command commands[] = {
    {"devices", "", "the OpenCL devices and which one is used", devices_command},
    {"run", "MODEL (--input FILE.npy | --text FILE)", "runs a saved model on an array or a text",
     run_command},
    {"info", "MODEL", "what is in a model folder, and what a forward would take", info_command},
    {"init", "CONFIG.json --output FOLDER", "makes a model folder with initial weights",
     init_command},
    {"routes", "MODEL --text FILE", "which tokens of a text went to the heavy branches",
     routes_command},
    {"train", "(--preset NAME | --config FILE) --data FILE… --output DIR | --resume DIR",
     "trains a text model on any files", train_command},
    {"bench", "[CONFIG.json | MODEL]…", "how long calls take, and what share of the device that is",
     bench_command},
    {"doctor", "", "what a bug report needs, and the cure for what is wrong", doctor_command},
    {NULL, NULL, NULL, NULL},
};

const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (!strcmp(command->name, name)) return command;
    return NULL;
}

static void print_usage(FILE *stream)
{
    fprintf(stream, "usage: colt5 COMMAND [OPTION…]\n\n"
                    "Conditionally routed transformers (CoLT5) on OpenCL.\n\n");
    for (const struct command *command = commands; command->name; command++)
        fprintf(stream, "  %-9s %s\n", command->name, command->summary);
    fprintf(stream, "\n`colt5 COMMAND --help` says more; so does colt5(1).\n");
}

int main(int count, char **arguments)
{
    handle_signals();
    const char *first = count > 1 ? arguments[1] : "--help";
    if (!strcmp(first, "--help") || !strcmp(first, "-h") || !strcmp(first, "help")) {
        print_usage(count > 1 ? stdout : stderr);
        return count > 1 ? EXIT_FINE : EXIT_USAGE;
    }
    if (!strcmp(first, "--version")) {
        printf("colt5 %s\n", colt5_version());
        return EXIT_FINE;
    }
    const struct command *command = find_command(first);
    if (!command) {
        complain("there is no command %s; `colt5 --help` lists them", first);
        return EXIT_USAGE;
    }
    const int code = command->run(count - 2, arguments + 2);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("standard output cannot be written");
        return code ? code : EXIT_BAD_INPUT;
    }
    return code;
}

/* SPDX-License-Identifier: MIT */
/* What the commands of the program share. Only the public headers of the library are used. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include <colt5/colt5.h>

/* Exit codes, as colt5(1) lists them. */
enum {
    EXIT_FINE = 0,
    EXIT_INTERNAL = 1,
    EXIT_USAGE = 2,
    EXIT_NO_DEVICE = 3,
    EXIT_BAD_INPUT = 4,
    EXIT_DIFFERS = 5,
    EXIT_NO_MEMORY = 6,
    EXIT_DEVICE_FAILED = 7,
    EXIT_INTERRUPTED = 130
};

/* ---- options (options.c): one table parses them and writes the help ---- */

enum option_kind {
    OPTION_FLAG,  /* bool: given or not */
    OPTION_TEXT,  /* const char * */
    OPTION_WORD,  /* const char *, one of the operand's words: "md|csv|json" */
    OPTION_COUNT, /* size_t, at least 1 */
    OPTION_SEED,  /* uint64_t */
    OPTION_REAL,  /* double, finite */
    OPTION_TYPE,  /* colt5_type: f32, f16, bf16 */
    OPTION_MATH,  /* colt5_math: strict, fast */
    OPTION_LIST   /* struct list: may be given again */
};

struct list {
    const char *items[64];
    size_t count;
};

struct option {
    const char *name; /* without the dashes; NULL ends a table */
    enum option_kind kind;
    void *value;
    const char *operand; /* what the help calls it: FILE */
    const char *help;
    bool *given; /* set when it is; may be NULL */
};

/* What stands besides options: MODEL. */
struct operands {
    const char *items[1024];
    size_t count;
};

struct command {
    const char *name;
    const char *operands; /* "MODEL --input FILE", for the usage line */
    const char *summary;  /* one line */
    int (*run)(int count, char **arguments);
};

extern const struct command commands[]; /* ended by a NULL name */

/* What --math calls it. */
const char *math_name(colt5_math math);

/*
 * Parses a command's arguments. False when the program should end with *code: after --help (0), or
 * a message about a wrong option (EXIT_USAGE). Operands fewer than least or more than most are
 * wrong.
 */
bool parse_options(const struct command *command, const struct option *options, int count,
                   char **arguments, size_t least, size_t most, struct operands *operands,
                   int *code);

/* The command of a name, or NULL. */
const struct command *find_command(const char *name);

/* ---- messages (report.c), all to stderr ---- */

/* "colt5: …" and a newline. complain("what happened (which call, which number)"). */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says the library's last message, and what to do where that is known; gives the exit code. For
 * calls that a signal does not stop. */
int complain_failure(const colt5_context *ctx, colt5_status status);
/* "no host memory"; gives EXIT_NO_MEMORY. */
int complain_memory(void);
/* As it is, unless --quiet. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A step of long work: a bar on a terminal, a line a second elsewhere, JSON with --progress=json.
 * total 0: nobody knows how many steps there are.
 */
void show_progress(const char *what, size_t done, size_t total);
/* On a terminal, a line that the next one takes the place of. */
void show_live(const char *text);
/* Ends the bar's line. */
void end_progress(void);

/* "1.2 GiB"; one static text a call, four in turn. */
const char *human_bytes(double bytes);
double seconds_now(void);

/* ---- a context and what every command that has one takes (session.c) ---- */

struct session {
    const char *device;   /* --device */
    const char *progress; /* --progress */
    bool quiet;           /* --quiet */
    bool finish_calls; /* a signal stops no call of the library: interrupted() is asked instead */
    colt5_context *ctx;
};

#define SESSION_OPTIONS(session)                                                                   \
    {"device", OPTION_TEXT, &(session)->device, "SELECTOR",                                        \
     "P:D, gpu[:K], cpu, PLATFORM:DEVICE or part of a name"},                                      \
        {"progress", OPTION_WORD, &(session)->progress, "plain|json", "how progress is told"},     \
    {                                                                                              \
        "quiet", OPTION_FLAG, &(session)->quiet, NULL, "no progress, no notes"                     \
    }

/*
 * Opens the context and names its device on stderr. EXIT_FINE, or the code to end with. From then
 * on SIGINT and SIGTERM stop the library between two launches (COLT5_CANCELLED).
 */
int open_session(struct session *session);
/* The same for a context beside it, of which nothing else is told. */
void obey_signals(struct session *session, colt5_context *ctx);
/* First thing in main. */
void handle_signals(void);
/* What signals do in a child process: what they do by default. */
void default_signals(void);
void close_session(struct session *session);
/* True once a signal asked to stop: nothing more should be written. Says so, once. */
bool interrupted(void);
/* As complain_failure, for calls that a signal may have stopped. */
int complain_status(const colt5_context *ctx, colt5_status status);

/* ---- models, arrays, texts (arrays.c): exit codes, after a message where not 0 ---- */

/* Reads a .npy file into a new tensor; values go to type, ids and masks keep theirs. */
int load_array(colt5_context *ctx, const char *path, colt5_type type, colt5_tensor *tensor);
/* A whole file with a NUL behind it, which the caller frees; an empty one is an error. */
int read_text(const char *path, char **bytes, size_t *count);
/* Bytes as ids, a new tensor i32 [B][N]. */
int place_text(colt5_context *ctx, const char *bytes, size_t B, size_t N, colt5_tensor *ids);
/* The elements of a tensor as floats, which the caller frees. */
int fetch_floats(colt5_context *ctx, const colt5_tensor *tensor, float **values);

/* A layer from a model folder. */
int load_model(colt5_context *ctx, const char *folder, colt5_type type, colt5_layer **layer);
/* True for layers that take ids in place of values. */
bool takes_text(const colt5_layer *layer);

/* Numbers in a row of the output: the width, or of language models the symbols. */
size_t output_width(const colt5_layer *layer);

/* --set NAME=K …, by the names config.json has for this kind of layer (counts.c). */
int set_counts(const struct list *settings, colt5_layer_kind kind, colt5_token_counts *counts);

#endif

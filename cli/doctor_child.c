/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "doctor.h"
#include "page.h"

/* Compilers in drivers are slow, and slower on a busy machine. */
#define PATIENCE 90 /* seconds */

static void run_child(json_t *(*work)(const void *), const void *argument, int to_parent, int said)
{
    default_signals();
    dup2(said, STDERR_FILENO);
    dup2(said, STDOUT_FILENO);
    json_t *result = work(argument);
    const int failed = !result || json_dumpfd(result, to_parent, JSON_COMPACT);
    _exit(failed ? EXIT_INTERNAL : EXIT_FINE); /* no driver's exit handlers */
}

/* What the child sends until it closes the pipe; false when patience ends first. */
static bool listen(int from_child, struct page *text)
{
    const double end = seconds_now() + PATIENCE;
    char bytes[4096];
    for (;;) {
        struct pollfd wait = {.fd = from_child, .events = POLLIN};
        const double left = end - seconds_now();
        const int ready = left > 0 ? poll(&wait, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        const ssize_t got = read(from_child, bytes, sizeof(bytes));
        if (got <= 0) return true;
        page_add(text, bytes, (size_t)got);
    }
}

/* The end of what the child wrote to its standard error. */
static json_t *last_words(FILE *said)
{
    char text[601];
    if (fseek(said, -600, SEEK_END) != 0) rewind(said);
    size_t count = fread(text, 1, sizeof(text) - 1, said);
    while (count > 0 && text[count - 1] == '\n') count--;
    for (size_t i = 0; i < count; i++)
        if ((unsigned char)text[i] >= 0x7F || ((unsigned char)text[i] < 0x20 && text[i] != '\n'))
            text[i] = '?';
    return json_stringn(text, count);
}

static json_t *failure(const char *what, const char *detail, FILE *said)
{
    return json_pack("{s:s+, s:o}", "failure", what, detail, "said", last_words(said));
}

/* Waits for the child and reads its verdict. */
static json_t *conclude(pid_t child, bool in_time, const struct page *text, FILE *said)
{
    int status = 0;
    char number[64];
    if (!in_time) kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    snprintf(number, sizeof(number), "%d seconds", PATIENCE);
    if (!in_time) return failure("hung: no answer within ", number, said);
    if (WIFSIGNALED(status)) return failure("crashed: ", strsignal(WTERMSIG(status)), said);
    json_t *result = text->text ? json_loadb(text->text, text->used, 0, NULL) : NULL;
    snprintf(number, sizeof(number), "%d", WEXITSTATUS(status));
    return result ? result : failure("ended the process with code ", number, said);
}

json_t *doctor_child(json_t *(*work)(const void *argument), const void *argument)
{
    int ends[2];
    FILE *said = tmpfile();
    if (!said || pipe(ends) != 0) {
        if (said) fclose(said);
        return json_pack("{s:s, s:s}", "failure", "not tried: no pipe or temporary file", "said",
                         "");
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(work, argument, ends[1], fileno(said));
    }
    close(ends[1]);
    struct page text = {.text = NULL};
    const bool in_time = child < 0 || listen(ends[0], &text);
    close(ends[0]);
    json_t *result = child < 0 ? failure("not tried: ", strerror(errno), said)
                               : conclude(child, in_time, &text, said);
    free(text.text);
    fclose(said);
    return result;
}

/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"

static volatile sig_atomic_t asked_to_stop;

/* The first asks; the handler is gone then, so that a second one ends the process at once. */
static void on_signal(int number)
{
    static const char text[] = "\ncolt5: stopping when the work at hand is done; again: at once\n";
    (void)number;
    asked_to_stop = 1;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

bool interrupted(void)
{
    static bool said;
    if (asked_to_stop && !said) complain("interrupted");
    said = asked_to_stop;
    return said;
}

static int on_cancel(void *user)
{
    const struct session *session = user;
    return asked_to_stop && !session->finish_calls;
}

static void on_log(void *user, const char *text)
{
    (void)user;
    if (!asked_to_stop) note("%s", text);
}

/* Of kernels the library says how many there were; how many there will be nobody knows. */
static void on_progress(void *user, const char *what, size_t done, size_t total)
{
    (void)user;
    char text[160];
    if (total)
        snprintf(text, sizeof(text), "%s", what);
    else
        snprintf(text, sizeof(text), "building kernels: %zu, %s", done + 1, what);
    show_progress(text, done, total);
}

/* A full disk or quota is an error of the call that writes, not the end of the process. */
void handle_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigemptyset(&stop.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGXFSZ, SIG_IGN);
}

int open_session(struct session *session)
{
    const bool json = session->progress && !strcmp(session->progress, "json");
    set_report_style((struct report_style){.quiet = session->quiet, .json = json});
    handle_signals();
    const colt5_status status = colt5_context_create(session->device, &session->ctx);
    if (status != COLT5_OK) return complain_status(NULL, status);
    colt5_context_set_callbacks(session->ctx, &(colt5_callbacks){.log = on_log,
                                                                 .progress = on_progress,
                                                                 .cancel = on_cancel,
                                                                 .user = session});
    const colt5_device_info *info = colt5_context_device_info(session->ctx);
    note("device %d:%d: %s (%s)", info->platform, info->device, info->name, info->platform_name);
    return EXIT_FINE;
}

void close_session(struct session *session)
{
    end_progress();
    colt5_context_destroy(session->ctx);
    session->ctx = NULL;
}

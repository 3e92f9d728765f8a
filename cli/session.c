/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"

static atomic_bool asked_to_stop;

static sigset_t stop_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    return signals;
}

static void ask_to_stop(void)
{
    static const char text[] = "\ncolt5: stopping when the work at hand is done; again: at once\n";
    asked_to_stop = true;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

/* The first signal asks; a second one ends the process at once. */
static void *wait_for_signals(void *unused)
{
    const sigset_t signals = stop_signals();
    int number;
    (void)unused;
    sigwait(&signals, &number);
    ask_to_stop();
    sigwait(&signals, &number);
    default_signals();
    raise(number);
    return NULL;
}

/* For threads that were there before signals were blocked. */
static void on_signal(int number)
{
    (void)number;
    ask_to_stop();
}

static void block_signals(void)
{
    const sigset_t signals = stop_signals();
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

#ifdef __GLIBC__
/* Before libraries are initialised, so that threads they make then inherit it. */
__attribute__((section(".preinit_array"),
               used)) static void (*const first_of_all)(void) = block_signals;
#endif

void default_signals(void)
{
    const sigset_t signals = stop_signals();
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

bool interrupted(void)
{
    static bool said;
    if (asked_to_stop && !said) complain("interrupted");
    said = asked_to_stop;
    return said;
}

int complain_status(const colt5_context *ctx, colt5_status status)
{
    /* A driver that is building when the signal comes may fail in a way of its own. */
    return interrupted() ? EXIT_INTERRUPTED : complain_failure(ctx, status);
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

/*
 * Signals are blocked in every thread and waited for in one of their own: compilers within drivers
 * set handlers while they work, and would take a signal for theirs. (A full disk or quota is an
 * error of the call that writes, not the end of the process.)
 */
void handle_signals(void)
{
    const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
    pthread_t thread;
    block_signals();
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGXFSZ, SIG_IGN);
    if (pthread_create(&thread, NULL, wait_for_signals, NULL) == 0)
        pthread_detach(thread);
    else
        default_signals();
}

int open_session(struct session *session)
{
    const bool json = session->progress && !strcmp(session->progress, "json");
    set_report_style((struct report_style){.quiet = session->quiet, .json = json});
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

void obey_signals(struct session *session, colt5_context *ctx)
{
    colt5_context_set_callbacks(ctx, &(colt5_callbacks){.cancel = on_cancel, .user = session});
}

void close_session(struct session *session)
{
    end_progress();
    colt5_context_destroy(session->ctx);
    session->ctx = NULL;
}

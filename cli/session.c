/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli.h"
#include "report.h"

static void on_log(void *user, const char *text)
{
    (void)user;
    note("%s", text);
}

/* Kernel builds tell how many there were; how many there will be nobody knows. */
static void on_progress(void *user, const char *what, size_t done, size_t total)
{
    (void)user;
    char text[128];
    snprintf(text, sizeof(text), total ? "%s" : "building kernels: %s", what);
    show_progress(text, done, total);
}

int open_session(struct session *session)
{
    if (session->progress && strcmp(session->progress, "json") &&
        strcmp(session->progress, "plain")) {
        complain("--progress is \"%s\", not json or plain", session->progress);
        return EXIT_USAGE;
    }
    set_report_style((struct report_style){
        .quiet = session->quiet, .json = session->progress && !strcmp(session->progress, "json")});
    const colt5_status status = colt5_context_create(session->device, &session->ctx);
    if (status != COLT5_OK) return complain_status(NULL, status);
    colt5_context_set_callbacks(session->ctx,
                                &(colt5_callbacks){.log = on_log, .progress = on_progress});
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

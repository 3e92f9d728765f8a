/* SPDX-License-Identifier: MIT */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdbool.h>

/* How progress is shown. */
struct report_style {
    bool quiet, json;
};

void set_report_style(struct report_style style);
struct report_style report_style(void);

#endif

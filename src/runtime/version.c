/* SPDX-License-Identifier: MIT */
#include <colt5/version.h>

const char *colt5_version(void)
{
    return COLT5_VERSION;
}

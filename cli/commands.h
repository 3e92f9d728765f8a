/* SPDX-License-Identifier: MIT */
/* The commands; each parses its own arguments and gives an exit code. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

int devices_command(int count, char **arguments);
int run_command(int count, char **arguments);
int info_command(int count, char **arguments);
int init_command(int count, char **arguments);
int routes_command(int count, char **arguments);
int train_command(int count, char **arguments);
int bench_command(int count, char **arguments);
int doctor_command(int count, char **arguments);

#endif

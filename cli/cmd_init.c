/* SPDX-License-Identifier: MIT */
/* colt5 init: a model folder with initial weights. */
#include "cli.h"
#include "commands.h"

static int make_model(struct session *session, const char *path, uint64_t seed, colt5_type type,
                      const char *folder)
{
    colt5_config config;
    colt5_layer *layer = NULL;
    colt5_status status = colt5_config_read(path, &config);
    if (status != COLT5_OK) return complain_status(NULL, status);
    status = colt5_layer_create(session->ctx, &config, type, &layer);
    if (status == COLT5_OK) status = colt5_layer_initialise(layer, seed);
    if (status == COLT5_OK && interrupted()) {
        colt5_layer_destroy(layer);
        return EXIT_INTERRUPTED;
    }
    if (status == COLT5_OK) status = colt5_layer_save(layer, folder);
    colt5_layer_destroy(layer);
    if (status != COLT5_OK) return complain_status(session->ctx, status);
    printf("%s/config.json\n%s/model.safetensors\n", folder, folder);
    return EXIT_FINE;
}

int init_command(int count, char **arguments)
{
    struct session session = {.device = NULL};
    const char *output = NULL;
    uint64_t seed = 0;
    colt5_type type = COLT5_F32;
    const struct option options[] = {
        {"output", OPTION_TEXT, &output, "FOLDER", "the model folder to make"},
        {"seed", OPTION_SEED, &seed, "S", "of the weights [0]"},
        {"dtype", OPTION_TYPE, &type, "TYPE", "of the weights in the file: f32 [f32], f16, bf16"},
        SESSION_OPTIONS(&session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("init"), options, count, arguments, 1, 1, &operands, &code))
        return code;
    if (!output) {
        complain("init wants --output FOLDER");
        return EXIT_USAGE;
    }
    code = open_session(&session);
    if (code == EXIT_FINE) code = make_model(&session, operands.items[0], seed, type, output);
    close_session(&session);
    return code;
}

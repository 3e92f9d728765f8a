/* SPDX-License-Identifier: MIT */
/* config.json: defaults, aliases, and a table of configs that must be refused by name. */
#include <stdio.h>
#include <unistd.h>

#include <colt5/config.h>

#include "support/testing.h"

static char folder[] = "/tmp/colt5-config-XXXXXX";

static colt5_status read_text(const char *text, colt5_config *config)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/config.json", folder);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    const colt5_status status = colt5_config_read(folder, config);
    remove(path);
    return status;
}

#define BLOCK                                                                                      \
    "\"type\": \"transformer_block\", \"dim\": 32, \"num_heavy_ff_tokens\": 4, "                   \
    "\"num_heavy_attn_tokens_q\": 5, \"num_heavy_attn_tokens_kv\": 6"

START_TEST(defaults_are_those_of_the_specification)
{
    colt5_config c;
    ck_assert_msg(read_text("{" BLOCK "}", &c) == COLT5_OK, "%s", colt5_message(NULL));
    ck_assert_uint_eq(c.num_heavy_tokens_ff, 4);
    ck_assert_uint_eq(c.num_heavy_tokens_q, 5);
    ck_assert_uint_eq(c.num_heavy_tokens_kv, 6);
    ck_assert_double_eq(c.light_ff_mult, 0.5);
    ck_assert_double_eq(c.heavy_ff_mult, 4);
    ck_assert_uint_eq(c.light_window_size, 128);
    ck_assert_uint_eq(c.heavy_dim_head, 64);
    ck_assert_int_eq(c.rotary_emb, 0);
    ck_assert_int_eq(c.router.n_iters, 20);
    ck_assert_double_eq(c.router.fetch_k_ratio, 1.125);
    ck_assert_double_eq(c.router.eps, 0.03);
}
END_TEST

START_TEST(text_models_turn_rotary_on)
{
    static const char *const texts[] = {
        "{\"type\": \"text_encoder\", \"dim\": 32, \"depth\": 2, "
        "\"num_heavy_ff_tokens\": 4, \"num_heavy_attn_tokens\": 7}",
        "{\"type\": \"masked_language_model\", \"dim\": 32, \"depth\": 2, "
        "\"num_heavy_ff_tokens\": 4, \"num_heavy_attn_tokens\": 7}"};
    colt5_config c;
    ck_assert_int_eq(read_text(texts[_i], &c), COLT5_OK);
    ck_assert_int_eq(c.kind, _i ? COLT5_MASKED_LANGUAGE_MODEL : COLT5_TEXT_ENCODER);
    ck_assert_int_eq(c.rotary_emb, 1);
    ck_assert_int_eq(c.light_rotary_emb, 1);
    ck_assert_uint_eq(c.vocab_size, 258);
    ck_assert_uint_eq(c.num_heavy_tokens_q, 7);
    ck_assert_uint_eq(c.num_heavy_tokens_kv, 7);
}
END_TEST

START_TEST(router_defaults_follow_the_type)
{
    colt5_config c;
    ck_assert_int_eq(read_text("{" BLOCK ", \"router_type\": \"sinkhorn\"}", &c), COLT5_OK);
    ck_assert_int_eq(c.router.n_iters, 8);
    ck_assert_double_eq(c.router.temperature, 0.7);
    ck_assert_int_eq(read_text("{" BLOCK ", \"router_type\": \"cum_softmax\"}", &c), COLT5_OK);
    ck_assert_double_eq(c.router.temperature, 1);
}
END_TEST

START_TEST(what_means_nothing_here_is_accepted)
{
    colt5_config c;
    ck_assert_int_eq(read_text("{" BLOCK ", \"use_triton\": true, \"use_flash_attn\": false, "
                               "\"flash_attn\": 1, \"router_use_triton\": null, "
                               "\"triton_checkpoint_segments\": 4, "
                               "\"router_kwargs\": {\"route_block_size\": null}}",
                               &c),
                     COLT5_OK);
    ck_assert_uint_eq(c.router.route_block_size, 0);
}
END_TEST

START_TEST(what_is_written_reads_back)
{
    colt5_config c, back;
    ck_assert_int_eq(read_text("{" BLOCK ", \"num_routed_kv\": 2, \"router_kwargs\": "
                               "{\"eps\": 0.5, \"route_block_size\": 9}}",
                               &c),
                     COLT5_OK);
    ck_assert_int_eq(colt5_config_write(folder, &c), COLT5_OK);
    ck_assert_int_eq(colt5_config_read(folder, &back), COLT5_OK);
    ck_assert_msg(!memcmp(&c, &back, sizeof(c)), "the config changed on its way");
    char *text, path[64];
    ck_assert_int_eq(colt5_config_text(&c, &text), COLT5_OK);
    ck_assert_ptr_nonnull(strstr(text, "\"route_block_size\": 9"));
    colt5_text_free(text);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    remove(path);
}
END_TEST

/* Each names what is wrong. */
static const struct bad {
    const char *text, *names;
    colt5_status status;
} bad[] = {
    {"{" BLOCK ", \"colour\": 1}", "colour", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"heavy_heads\": 0}", "heavy_heads", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"heavy_heads\": 2.5}", "heavy_heads", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"heavy_heads\": \"8\"}", "heavy_heads", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"heavy_heads\": true}", "heavy_heads", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"rotary_emb\": 1}", "rotary_emb", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"num_routed_kv\": 3}", "num_routed_kv", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"light_window_size\": 1}", "light_window_size", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"heavy_dim_head\": 257}", "heavy_dim_head", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"rotary_emb\": true, \"heavy_dim_head\": 7}", "heavy_dim_head",
     COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"light_ff_mult\": 0.01}", "light_ff_mult", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"light_ff_mult\": 0}", "light_ff_mult", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"depth\": 2}", "depth", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"num_heavy_attn_tokens\": 2}", "num_heavy_attn_tokens", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_type\": \"topk\"}", "router_type", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_kwargs\": {\"eps\": 0}}", "eps", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_kwargs\": {\"eps\": 1e999}}", "config.json", COLT5_ERROR_FORMAT},
    {"{" BLOCK ", \"router_kwargs\": {\"eps\": NaN}}", "config.json", COLT5_ERROR_FORMAT},
    {"{" BLOCK ", \"router_kwargs\": {\"n_iters\": 10001}}", "n_iters", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_kwargs\": {\"fetch_k_ratio\": 0.9}}", "fetch_k_ratio",
     COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_kwargs\": {\"temperature\": 1}}", "temperature", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_type\": \"sinkhorn\", \"router_kwargs\": {\"eps\": 1}}", "eps",
     COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"router_kwargs\": 7}", "router_kwargs", COLT5_ERROR_CONFIG},
    {"{" BLOCK ", \"dim\": 32}", "dim", COLT5_ERROR_FORMAT},
    {"{\"type\": \"transformer_block\", \"dim\": 32}", "num_heavy_ff_tokens", COLT5_ERROR_CONFIG},
    {"{\"type\": \"feed_forward\", \"num_heavy_tokens\": 3}", "dim", COLT5_ERROR_CONFIG},
    {"{\"type\": \"feed_forward\", \"dim\": -1, \"num_heavy_tokens\": 3}", "dim",
     COLT5_ERROR_CONFIG},
    {"{\"type\": \"feed_forward\", \"dim\": 1e30, \"num_heavy_tokens\": 3}", "dim",
     COLT5_ERROR_CONFIG},
    {"{\"type\": \"perceptron\", \"dim\": 32}", "perceptron", COLT5_ERROR_CONFIG},
    {"{\"dim\": 32}", "type", COLT5_ERROR_CONFIG},
    {"[]", "config.json", COLT5_ERROR_FORMAT},
    {"", "config.json", COLT5_ERROR_FORMAT},
    {"{" BLOCK "} x", "config.json", COLT5_ERROR_FORMAT},
    {"{\"type\": \"\xff\"}", "config.json", COLT5_ERROR_FORMAT},
};

START_TEST(bad_configs_are_refused_by_name)
{
    colt5_config c;
    const colt5_status status = read_text(bad[_i].text, &c);
    ck_assert_msg(status == bad[_i].status ||
                      (status == COLT5_ERROR_CONFIG && bad[_i].status == COLT5_ERROR_FORMAT),
                  "%s: %s: %s", bad[_i].text, colt5_status_text(status), colt5_message(NULL));
    ck_assert_msg(strstr(colt5_message(NULL), bad[_i].names) != NULL, "%s does not name %s",
                  colt5_message(NULL), bad[_i].names);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    colt5_config c;
    ck_assert_int_eq(colt5_config_read("/nonexistent/folder", &c), COLT5_ERROR_FILE);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "/nonexistent/folder"));
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_test(tests, defaults_are_those_of_the_specification);
    tcase_add_loop_test(tests, text_models_turn_rotary_on, 0, 2);
    tcase_add_test(tests, router_defaults_follow_the_type);
    tcase_add_test(tests, what_means_nothing_here_is_accepted);
    tcase_add_test(tests, what_is_written_reads_back);
    tcase_add_loop_test(tests, bad_configs_are_refused_by_name, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tests, a_missing_file_is_named);
    suite_add_tcase(suite, tests);
    const int result = run_host_suite(suite);
    rmdir(folder);
    return result;
}

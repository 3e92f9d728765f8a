/* SPDX-License-Identifier: MIT */
#include "io/digest.h"

#include <string.h>

#include "io/file.h"
#include "runtime/memory.h"

static uint64_t mix(uint64_t digest, uint64_t word)
{
    digest = (digest ^ word) * UINT64_C(0x100000001B3);
    return digest ^ digest >> 32;
}

uint64_t digest_add(uint64_t digest, const void *bytes, size_t count)
{
    const unsigned char *from = bytes;
    uint64_t word = 0;
    for (; count >= sizeof(word); from += sizeof(word), count -= sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        digest = mix(digest, word);
    }
    if (count == 0) return digest;
    word = 0;
    memcpy(&word, from, count);
    return mix(digest, word);
}

uint64_t digest_end(uint64_t digest, uint64_t bytes)
{
    return mix(digest, bytes);
}

colt5_status digest_file(const char *path, uint64_t *bytes, uint64_t *digest)
{
    struct input input;
    char *piece = NULL;
    uint64_t sum = DIGEST_START, done = 0;
    colt5_status status = input_open(&input, path);
    if (status != COLT5_OK) return status;
    piece = host_allocate(FILE_PIECE);
    if (!piece) TRY(fail(NULL, COLT5_ERROR_MEMORY, "%s: no host memory", path));
    while (done < input.size) {
        const uint64_t left = input.size - done;
        const size_t count = left < FILE_PIECE ? (size_t)left : FILE_PIECE;
        TRY(input_read(&input, done, piece, count));
        sum = digest_add(sum, piece, count);
        done += count;
    }
    *bytes = input.size;
    *digest = digest_end(sum, input.size);
out:
    host_release(piece);
    input_close(&input);
    return status;
}

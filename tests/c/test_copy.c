#include "runner.h"

#include "os/copy.h"

#include <stdlib.h>
#include <string.h>

TEST(copies_exactly_the_bytes_asked_for_at_any_alignment)
{
    enum { ROOM = 200 * 1024 };
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 32767, 32768, 32769, 33000, 65536, 131071};
    unsigned char *from = malloc(ROOM), *to = malloc(ROOM);
    for (size_t i = 0; i < ROOM; i++) from[i] = (unsigned char)(i * 7 + (i >> 8));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t at = 0; at < 70; at += 3) {
            memset(to, 0xaa, ROOM);
            cmp_copy_away(to + 100 + at, from + at * 5 % 61, sizes[i]);
            CHECK(memcmp(to + 100 + at, from + at * 5 % 61, sizes[i]) == 0);
            for (size_t k = 0; k < 100 + at; k++) CHECK(to[k] == 0xaa);
            for (size_t k = 100 + at + sizes[i]; k < ROOM && k < 300 + at + sizes[i]; k++) CHECK(to[k] == 0xaa);
        }
    free(from);
    free(to);
}

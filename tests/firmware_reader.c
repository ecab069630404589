/* The firmware's CBOR reader on bytes that end where their memory ends, for tests/bridge/test_link_cbor.py.
 *
 * Each line of standard input is a kind (u: integer, a: array, b: byte string, t: text), a size (of the byte string; at
 * most, of the text), and bytes in hex. For each it prints what was read and how many bytes are left, or "bad". The bytes
 * stand in a block of memory of their own, so that the address sanitizer ends the program where one beyond is touched.
 */
#define _POSIX_C_SOURCE 200809L

#include "cbor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_bytes(const void *from, size_t size)
{
    const uint8_t *bytes = from;
    for (size_t at = 0; at < size; at++)
        printf("%02x", bytes[at]);
}

static void read_one(char kind, size_t most, struct reader *from)
{
    size_t size = most;
    uint64_t number = 0;
    const void *string = NULL;

    if (kind == 'u')
        number = read_uint(from);
    else if (kind == 'a')
        number = read_array(from);
    else
        string = kind == 'b' ? (const void *)read_bytes(from, most) : (const void *)read_text(from, most, &size);
    if (from->bad || ((kind == 'b' || kind == 't') && string == NULL)) {
        puts("bad");
        return;
    }
    if (string)
        print_bytes(string, size);
    else
        printf("%" PRIu64, number);
    printf(" %zu\n", from->left);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        char kind = line[0], *hex;
        size_t most = strtoull(line + 2, &hex, 10);
        size_t size = strspn(++hex, "0123456789abcdef") / 2;
        uint8_t *bytes = malloc(size ? size : 1);
        if (!bytes)
            return 1;
        for (size_t at = 0; at < size; at++) {
            unsigned byte;
            if (sscanf(hex + 2 * at, "%2x", &byte) != 1)
                return 1;
            bytes[at] = (uint8_t)byte;
        }
        struct reader reader = {size ? bytes : bytes + 1, size, false};
        read_one(kind, most, &reader);
        free(bytes);
    }
    free(line);
    return 0;
}

/* Deterministic CBOR (RFC 8949 section 4.2.1): a writer into a buffer, and a strict reader. No allocation. */
#ifndef MEDLEDGER_CBOR_H
#define MEDLEDGER_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `full` once something did not fit: check it at the end, before the bytes are used. */
struct writer {
    uint8_t *bytes;
    size_t size, room;
    bool full;
};

void write_int(struct writer *to, int64_t value);
void write_uint(struct writer *to, uint64_t value);
void write_bytes(struct writer *to, const uint8_t *bytes, size_t size);
void write_text(struct writer *to, const char *text);
void write_array(struct writer *to, size_t count);
void write_map(struct writer *to, size_t count);
void write_null(struct writer *to);
void write_raw(struct writer *to, const uint8_t *bytes, size_t size); /* what is encoded already */

/* `bad` once something was not what it was read as; all later reads then give 0. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

uint64_t read_uint(struct reader *from);
size_t read_array(struct reader *from);
const uint8_t *read_bytes(struct reader *from, size_t size);       /* a byte string of exactly this size, or NULL */
const char *read_text(struct reader *from, size_t most, size_t *size); /* not ended by a zero byte */

#endif

/* The machine under random use: measurements, a hostile host, a store that fails and a power that does.
 *
 *     fuzz SEED STEPS
 *
 * The platform stands here: a store that may refuse, and whose power may fail before or after it kept a counter; a
 * signature that is a checksum, because what is signed is looked at and not who. Whatever happens:
 *
 * - no counter ever stands for two contents, over all starts of the device, and none is sent before it is stored
 * - every frame said is one that a host can read, within its sizes, with an age that is right
 * - the ring forgets what a well-formed ACK of this boot names, or what a full ring pushes out, and nothing else
 *
 * The same seed gives the same run. Build it with the sanitizers: `make fuzz`.
 */
#include "../device.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 4, CRC = 4, KNOWN = 1 << 16 };

static struct device device;
static struct state stored; /* what would be there after a loss of power */
static jmp_buf power;
static uint64_t drawn, now, steps, heard, said, cuts;
static uint64_t known[KNOWN][2]; /* of a counter modulo KNOWN: the counter, and a sum of its batch */
static uint8_t boot[BOOT_BYTES];
static enum { GOOD, REFUSES, REFUSES_AND_KEEPS, FAILS_BEFORE, FAILS_AFTER } store;

static uint64_t draw(uint64_t below) /* xorshift64* */
{
    drawn ^= drawn >> 12, drawn ^= drawn << 25, drawn ^= drawn >> 27;
    return (drawn * 0x2545f4914f6cdd1d >> 16) % below;
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz: at step %" PRIu64 ": %s\n", steps, what);
        abort();
    }
}

/* --- the platform ------------------------------------------------------------------------------------------------- */

bool hal_save(const struct state *state)
{
    must(state->counter == stored.counter + 1 || state->counter == stored.counter, "a counter is passed over");
    if (store == FAILS_BEFORE)
        longjmp(power, 1);
    if (store == REFUSES)
        return false;
    stored = *state;
    if (store == FAILS_AFTER)
        longjmp(power, 1);
    return store == GOOD;
}

void hal_keys(const uint8_t *seed, uint8_t *key, uint8_t *secret)
{
    memcpy(key, seed, KEY_BYTES);
    memcpy(secret, seed, SEED_BYTES);
    memcpy(secret + SEED_BYTES, key, KEY_BYTES);
}

void hal_sign(const uint8_t *secret, const uint8_t *message, size_t size, uint8_t *to)
{
    uint32_t sum = crc32_of(message, size);
    for (size_t at = 0; at < SIGNATURE_BYTES; at++)
        to[at] = (uint8_t)(secret[at] ^ sum >> 8 * (at % 4));
}

/* --- what the device says ----------------------------------------------------------------------------------------- */

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t at = 0; at < size; at++)
        sum = (sum ^ bytes[at]) * 0x100000001b3;
    return sum;
}

static void judge_batch(struct reader *body)
{
    size_t size;
    must(read_array(body) == 3, "a batch has three fields");
    uint64_t oldest = read_uint(body), age = read_uint(body);
    const uint8_t *batch = body->at;
    size_t whole = body->left;
    must(read_array(body) == 7, "what is signed has seven fields");
    must(read_text(body, MAX_TEXT, &size) != NULL && read_bytes(body, KEY_BYTES) != NULL, "no name, or no key");
    must(read_bytes(body, BOOT_BYTES) != NULL, "no boot");
    uint64_t counter = read_uint(body), uptime = read_uint(body);
    size_t readings = read_array(body);

    must(!body->bad && counter >= 1 && readings >= 1 && readings <= MAX_READINGS, "the batch is not well-formed");
    must(oldest <= counter && counter <= stored.counter, "a counter that is not stored, or not kept, is said");
    must(uptime + age == now, "the age is wrong");
    uint64_t *place = known[counter % KNOWN], sum = sum_of(batch, whole);
    must(place[0] != counter || place[1] == sum, "one counter stands for two contents");
    place[0] = counter, place[1] = sum;
}

static void judge_frame(const uint8_t *frame, size_t size)
{
    static uint8_t packet[PACKET_BYTES];
    size_t got;
    must(size >= 2 && size <= FRAME_BYTES && frame[0] == 0 && frame[size - 1] == 0, "the frame has no ends");
    must(memchr(frame + 1, 0, size - 2) == NULL, "a zero is in the frame");
    must(cobs_decode(frame + 1, size - 2, packet, &got), "no COBS");
    must(got > HEAD + CRC && got <= PACKET_BYTES && packet[0] == LINK_VERSION, "no packet");
    uint32_t crc = crc32_of(packet, got - CRC);
    for (size_t at = 0; at < CRC; at++)
        must(packet[got - CRC + at] == (uint8_t)(crc >> 8 * at), "the CRC is wrong");
    struct reader body = {packet + HEAD, got - HEAD - CRC, false};
    if (packet[1] == BATCH)
        judge_batch(&body);
    else
        must(packet[1] == HELLO && read_array(&body) == 9, "neither a hello nor a batch");
    said++;
}

static void send(void)
{
    for (uint64_t left = draw(WINDOW + 3); left > 0; left--) {
        size_t size = device_send(&device, now);
        if (size == 0)
            return;
        judge_frame(device.frame, size);
    }
}

/* --- what the host says ------------------------------------------------------------------------------------------- */

static uint8_t packet[PACKET_BYTES], frame[FRAME_BYTES];

static size_t body_of_ack(uint8_t *to, size_t room, const uint8_t *of, uint64_t counter)
{
    struct writer body = {to, 0, room, false};
    write_array(&body, 2);
    write_bytes(&body, of, BOOT_BYTES);
    write_uint(&body, counter);
    return body.size;
}

static void receive(const uint8_t *bytes, size_t size, const uint8_t *body, size_t body_size)
{
    uint64_t before = device.oldest;
    device_receive(&device, now, bytes, size);
    heard++;
    if (device.oldest == before)
        return;
    uint8_t ack[32];
    size_t expected = body_of_ack(ack, sizeof ack, boot, device.oldest - 1);
    must(body != NULL && body_size == expected && memcmp(body, ack, expected) == 0, "forgotten, and nobody said so");
}

static void noise(void)
{
    uint8_t bytes[300];
    size_t size = (size_t)draw(sizeof bytes);
    for (size_t at = 0; at < size; at++)
        bytes[at] = (uint8_t)(draw(8) ? draw(256) : 0);
    receive(bytes, size, NULL, 0);
}

/* A frame of the host: right, of another boot or out of range, or with its body altered under a right CRC. */
static void frame_of_host(void)
{
    static const char *const REASONS[] = {"order", "order", "batch", "ordeR", ""};
    static const enum kind KINDS[] = {ACK, ERROR_REPORT, ASK, BATCH, HELLO};
    static const uint8_t other[BOOT_BYTES] = {1};
    uint64_t counter = device.oldest - 2 + draw(RING + 4);
    enum kind kind = draw(3) == 0 ? ERROR_REPORT : draw(4) == 0 ? ASK : ACK;
    struct writer body = {packet + HEAD, 0, MAX_HOST_PACKET_BYTES, false};

    if (kind == ACK)
        body.size = body_of_ack(body.bytes, body.room, draw(8) ? boot : other, draw(16) ? counter : drawn);
    else
        write_array(&body, kind == ASK ? 0 : 3);
    if (kind == ERROR_REPORT) {
        write_uint(&body, draw(4) ? draw(65536) : drawn);
        write_text(&body, REASONS[draw(sizeof REASONS / sizeof REASONS[0])]);
        write_uint(&body, draw(16) ? counter : drawn);
    }
    for (uint64_t left = draw(2) ? draw(4) : 0; left > 0; left--)
        body.bytes[draw(body.size)] = (uint8_t)draw(256);
    if (draw(8) == 0)
        body.size = 1 + (size_t)draw(MAX_HOST_PACKET_BYTES);
    if (draw(16) == 0)
        kind = KINDS[draw(sizeof KINDS / sizeof KINDS[0])];
    size_t size = frame_wrap(packet, body.size, kind, (uint16_t)draw(65536), frame);
    must(size > 0, "the host's frame is too long for the test");
    if (draw(8) == 0) {
        frame[draw(size - 1)] ^= (uint8_t)(1 << draw(8));
        receive(frame, size, NULL, 0);
    } else {
        receive(frame, size, kind == ACK ? packet + HEAD : NULL, body.size);
    }
}

/* COBS in blocks of memory that end where the bytes end, for the address sanitizer. */
static void stuff(void)
{
    size_t size = (size_t)(draw(2) ? draw(600) : 254 * draw(4) + draw(3)), room = size + size / 254 + 1;
    uint8_t *bytes = malloc(size ? size : 1), *run = malloc(room);
    size_t got = 0;

    must(bytes != NULL && run != NULL, "no memory");
    for (size_t at = 0; at < size; at++)
        bytes[at] = (uint8_t)(draw(300) ? 1 + draw(255) : 0);
    size_t used = cobs_encode(bytes, size, run);
    must(used <= room && memchr(run, 0, used) == NULL, "COBS of another size, or with a zero");
    uint8_t *exact = malloc(used);
    must(exact != NULL, "no memory");
    memcpy(exact, run, used);
    must(cobs_decode(exact, used, exact, &got) && got == size && memcmp(exact, bytes, size) == 0, "COBS is not undone");
    memcpy(exact, run, used);
    for (uint64_t left = 1 + draw(3); left > 0; left--)
        exact[draw(used)] = (uint8_t)draw(256);
    if (cobs_decode(exact, used, exact, &got))
        must(got < used, "COBS makes more of less");
    free(bytes), free(run), free(exact);
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static void boot_again(void)
{
    for (size_t at = 0; at < BOOT_BYTES; at++)
        boot[at] = (uint8_t)(2 + draw(250));
    now = draw(3) ? 0 : draw(1ull << 40);
    store = GOOD;
    device_start(&device, &stored, boot, draw(2) ? "SIM-1" : "Monitor 7/bed~2", (size_t)draw(MAX_READINGS + 2));
}

static void measure(void)
{
    static const char *const CODES[] = {"8867-4", "59408-5", "8480-6", "a code that is as long as no code of LOINC is"};
    struct sample samples[MAX_SAMPLES + 1];
    for (size_t at = 0; at <= MAX_SAMPLES; at++)
        samples[at] = (struct sample){.code = CODES[draw(4)],
                                      .unit = "/min",
                                      .mantissa = (int64_t)(drawn >> draw(64)),
                                      .exponent = (int)draw(256) - 128,
                                      .absent = draw(9) == 0};
    device_measure(&device, now, samples, (size_t)draw(MAX_SAMPLES + 2));
}

static void step(void)
{
    switch (draw(16)) {
    case 0: case 1: case 2: case 3: measure(); break;
    case 4: device_seal(&device, now); break;
    case 5: case 6: case 7: send(); break;
    case 8: case 9: case 10: case 11: frame_of_host(); break;
    case 12: noise(); break;
    case 13: now += draw(2) ? draw(100) : draw(100000); break;
    case 14: store = draw(3) ? GOOD : (int)draw(5); break;
    default:
        if (draw(50) == 0)
            longjmp(power, 1);
        stuff();
    }
    must(device.state.counter <= stored.counter, "a counter is used that is not stored");
    must(device.oldest >= 1 && device.oldest <= device.state.counter + 1, "the oldest is beyond what is kept");
    must(device.state.counter + 1 - device.oldest <= RING, "more is kept than the ring holds");
    must(device.next_to_send >= device.oldest, "what is forgotten would be said");
    must(device.next_to_send <= device.state.counter + 1, "what is not sealed would be said");
    must(device.readings_size <= READINGS_BYTES && device.readings <= MAX_READINGS, "the open batch is too large");
}

int main(int count, char **arguments)
{
    uint64_t seed = count == 3 ? strtoull(arguments[1], NULL, 10) : 0;
    uint64_t last = count == 3 ? strtoull(arguments[2], NULL, 10) : 0;
    if (seed == 0 || last == 0)
        return fputs("usage: fuzz SEED STEPS, both from 1\n", stderr), 2;
    drawn = seed;
    if (setjmp(power) != 0)
        cuts++;
    boot_again();
    while (steps < last) {
        steps++;
        step();
    }
    printf("seed %" PRIu64 ": %" PRIu64 " steps, ", seed, steps);
    printf("%" PRIu64 " times heard, %" PRIu64 " frames said, ", heard, said);
    printf("%" PRIu64 " batches, %" PRIu64 " losses of power; nothing wrong\n", stored.counter, cuts);
    return 0;
}

/* A strict JSON scanner that keeps only what the load generator asks of a server's transport message.
 *
 * Strict: one value and nothing behind it, no control characters in strings, escapes and numbers as RFC 8259 has them,
 * depth <= 32. Unknown fields are checked and skipped. Strings are views into the scanned bytes, still escaped.
 */
#ifndef BENCH_SCAN_H
#define BENCH_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef struct {
    const char *s;
    uint32_t n;
} Str;

enum op { OP_OTHER, OP_WELCOME, OP_REPLY, OP_ERROR, OP_PUSH, OP_LAGGED, OP_NOTE, OP_BEAT, OP_PONG, OP_BYE };

typedef struct { /* a Message, or the rest of any `data` and `result`: fields that are absent are -1 or empty */
    Str conversation, text, ref, epoch;
    int64_t seq, rev, since, version;
    int64_t tag_run, tag_conversation, tag_index; /* what our own texts begin with; -1 for any other text */
    bool more;
} Message;

typedef struct {
    enum op op;
    Str event, ref, code, session, epoch, reason;
    int64_t version;
    bool resumed, behind;
    Message data;        /* of a push's data or a reply's result */
    int first, messages; /* result.messages: scan->message[first ...] */
    int first_inbox, inbox; /* result.inbox and result.hot, with head's rev */
} Frame;

enum { SCAN_FRAMES = 128, SCAN_MESSAGES = 4096 };

typedef struct {
    int frames, messages;
    Frame frame[SCAN_FRAMES];
    Message message[SCAN_MESSAGES];
} Scan;

typedef struct {
    const char *p, *end;
    int depth;
    Scan *scan;
    Frame *frame;
    Message *message;
} Cursor;

typedef bool (*Field)(Cursor *c, Str key);

static inline bool is(Str a, const char *b) { return a.n == strlen(b) && !memcmp(a.s, b, a.n); }

static inline void scan_space(Cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t')) c->p++;
}

static inline char scan_peek(Cursor *c) { /* the next token's first byte; 0 at the end */
    scan_space(c);
    return c->p < c->end ? *c->p : 0;
}

static inline bool scan_char(Cursor *c, char want) {
    if (scan_peek(c) != want) return false;
    c->p++;
    return true;
}

static inline bool scan_string(Cursor *c, Str *out) {
    if (!scan_char(c, '"')) return false;
    const char *p = c->p, *end = c->end;
    for (;;) {
#ifdef __SSE2__
        while (end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
            __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(v, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
            __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
            int bits = _mm_movemask_epi8(_mm_or_si128(hit, low));
            if (bits) {
                p += __builtin_ctz((unsigned)bits);
                break;
            }
            p += 16;
        }
#endif
        if (p == end || (uint8_t)*p < 0x20) return false;
        if (*p == '"') break;
        if (*p++ != '\\') continue;
        if (p == end) return false;
        if (*p == 'u') {
            if (end - p < 5) return false;
            for (int i = 1; i < 5; i++)
                if (!memchr("0123456789abcdefABCDEF", p[i], 22)) return false;
            p += 4;
        } else if (!memchr("\"\\/bfnrt", *p, 8)) {
            return false;
        }
        p++;
    }
    out->s = c->p;
    out->n = (uint32_t)(p - c->p);
    c->p = p + 1;
    return true;
}

static inline bool scan_digits(Cursor *c) {
    const char *from = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') c->p++;
    return c->p > from;
}

static inline bool scan_number(Cursor *c) {
    if (c->p < c->end && *c->p == '-') c->p++;
    const char *from = c->p;
    if (!scan_digits(c) || (*from == '0' && c->p > from + 1)) return false;
    if (c->p < c->end && *c->p == '.' && (c->p++, !scan_digits(c))) return false;
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-')) c->p++;
        return scan_digits(c);
    }
    return true;
}

static inline bool scan_word(Cursor *c, const char *word, size_t n) {
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n)) return false;
    c->p += n;
    return true;
}

static inline bool scan_bool(Cursor *c, bool *out) {
    *out = scan_peek(c) == 't';
    return *out ? scan_word(c, "true", 4) : scan_word(c, "false", 5);
}

static inline bool scan_int(Cursor *c, int64_t *out) { /* below 2^53, never 1.0 or 1e2 */
    scan_space(c);
    const char *from = c->p;
    if (!scan_number(c) || c->p - from > 17) return false;
    int64_t v = 0;
    for (const char *p = from + (*from == '-'); p < c->p; p++) {
        if (*p < '0' || *p > '9') return false;
        v = v * 10 + (*p - '0');
    }
    *out = *from == '-' ? -v : v;
    return true;
}

static inline bool scan_object(Cursor *c, Field field) {
    if (!scan_char(c, '{') || ++c->depth > 32) return false;
    if (!scan_char(c, '}')) {
        do {
            Str key;
            scan_space(c);
            if (!scan_string(c, &key) || !scan_char(c, ':') || !field(c, key)) return false;
        } while (scan_char(c, ','));
        if (!scan_char(c, '}')) return false;
    }
    c->depth--;
    return true;
}

static inline bool scan_array(Cursor *c, bool (*item)(Cursor *c)) {
    if (!scan_char(c, '[') || ++c->depth > 32) return false;
    if (!scan_char(c, ']')) {
        do
            if (!item(c)) return false;
        while (scan_char(c, ','));
        if (!scan_char(c, ']')) return false;
    }
    c->depth--;
    return true;
}

static bool scan_skip(Cursor *c);
static inline bool scan_skip_field(Cursor *c, Str key) {
    (void)key;
    return scan_skip(c);
}

static bool scan_skip(Cursor *c) {
    Str s;
    switch (scan_peek(c)) {
    case '"': return scan_string(c, &s);
    case '{': return scan_object(c, scan_skip_field);
    case '[': return scan_array(c, scan_skip);
    case 't': return scan_word(c, "true", 4);
    case 'f': return scan_word(c, "false", 5);
    case 'n': return scan_word(c, "null", 4);
    default: return scan_number(c);
    }
}

static inline bool scan_maybe_string(Cursor *c, Str *out) { /* a field of that name that is no string is not ours */
    return scan_peek(c) == '"' ? scan_string(c, out) : scan_skip(c);
}

static inline bool scan_maybe_int(Cursor *c, int64_t *out) {
    char next = scan_peek(c);
    return next == '-' || (next >= '0' && next <= '9') ? scan_int(c, out) : scan_skip(c);
}

static inline bool scan_body(Cursor *c, Str key) {
    return is(key, "text") ? scan_maybe_string(c, &c->message->text) : scan_skip(c);
}

static inline bool scan_head(Cursor *c, Str key) {
    return is(key, "rev") ? scan_int(c, &c->message->rev) : is(key, "seq") ? scan_int(c, &c->message->seq) : scan_skip(c);
}

static bool scan_message_item(Cursor *c);
static bool scan_inbox_item(Cursor *c);

static bool scan_message_field(Cursor *c, Str key) {
    Message *m = c->message;
    switch (key.n) {
    case 12:
        if (is(key, "conversation")) return scan_maybe_string(c, &m->conversation);
        break;
    case 3:
        if (is(key, "seq")) return scan_maybe_int(c, &m->seq);
        if (is(key, "rev")) return scan_maybe_int(c, &m->rev);
        if (is(key, "ref")) return scan_maybe_string(c, &m->ref);
        if (is(key, "hot") && m == &c->frame->data) return scan_array(c, scan_inbox_item);
        break;
    case 4:
        if (is(key, "body") && scan_peek(c) == '{') return scan_object(c, scan_body);
        if (is(key, "head")) return scan_object(c, scan_head);
        if (is(key, "more")) return scan_bool(c, &m->more);
        break;
    case 5:
        if (is(key, "since")) return scan_maybe_int(c, &m->since);
        if (is(key, "epoch")) return scan_maybe_string(c, &m->epoch);
        if (is(key, "inbox") && m == &c->frame->data) return scan_array(c, scan_inbox_item);
        break;
    case 7:
        if (is(key, "version")) return scan_maybe_int(c, &m->version);
        break;
    case 8:
        if (is(key, "messages") && m == &c->frame->data) return scan_array(c, scan_message_item);
        break;
    }
    return scan_skip(c);
}

static inline void scan_clear(Message *m) {
    memset(m, 0, sizeof *m);
    m->seq = m->rev = m->since = m->version = -1;
    m->tag_run = m->tag_conversation = m->tag_index = -1;
}

static bool scan_item(Cursor *c, int *first, int *count) {
    Scan *s = c->scan;
    if (s->messages == SCAN_MESSAGES) return false;
    if (!(*count)++) *first = s->messages;
    c->message = &s->message[s->messages++];
    scan_clear(c->message);
    bool good = scan_object(c, scan_message_field);
    c->message = &c->frame->data;
    return good;
}

static bool scan_message_item(Cursor *c) { return scan_item(c, &c->frame->first, &c->frame->messages); }

static bool scan_inbox_item(Cursor *c) {
    /* inbox and hot rows of one answer stand behind each other only if no messages came between; none do */
    return scan_item(c, &c->frame->first_inbox, &c->frame->inbox);
}

static bool scan_frame_field(Cursor *c, Str key) {
    Frame *f = c->frame;
    Str op = {0};
    if (is(key, "op")) {
        static const char *const names[] = {"", "welcome", "reply", "error", "push", "lagged", "note", "beat", "pong", "bye"};
        if (!scan_string(c, &op)) return false;
        for (int i = 1; i <= OP_BYE; i++)
            if (is(op, names[i])) f->op = (enum op)i;
        return true;
    }
    if (is(key, "data") || is(key, "result")) {
        c->message = &f->data;
        return scan_peek(c) == '{' ? scan_object(c, scan_message_field) : scan_skip(c);
    }
    if (is(key, "event")) return scan_maybe_string(c, &f->event);
    if (is(key, "ref")) return scan_maybe_string(c, &f->ref);
    if (is(key, "code")) return scan_maybe_string(c, &f->code);
    if (is(key, "reason")) return scan_maybe_string(c, &f->reason);
    if (is(key, "session")) return scan_maybe_string(c, &f->session);
    if (is(key, "epoch")) return scan_maybe_string(c, &f->epoch);
    if (is(key, "version")) return scan_maybe_int(c, &f->version);
    if (is(key, "resumed")) return scan_bool(c, &f->resumed);
    if (is(key, "behind")) return scan_bool(c, &f->behind);
    return scan_skip(c);
}

static bool scan_frame(Cursor *c) {
    Scan *s = c->scan;
    if (s->frames == SCAN_FRAMES) return false;
    Frame *f = c->frame = &s->frame[s->frames++];
    memset(f, 0, sizeof *f);
    f->version = -1;
    scan_clear(&f->data);
    return scan_object(c, scan_frame_field);
}

/* One transport message: a frame, or a list of 1-128 frames. */
static inline bool scan(Scan *s, const char *p, size_t n) {
    Cursor c = {.p = p, .end = p + n, .scan = s};
    s->frames = s->messages = 0;
    if (!(scan_peek(&c) == '[' ? scan_array(&c, scan_frame) : scan_frame(&c))) return false;
    return !scan_peek(&c) && c.p == c.end && s->frames > 0;
}

#endif

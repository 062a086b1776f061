/* Durations in nanoseconds, log-linear: 64 steps to each power of two, so a percentile is right within 1.6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

typedef struct {
    uint64_t count, sum, max;
    uint32_t cell[64 * 40];
} Histogram;

static inline int histogram_cell(uint64_t ns) {
    if (ns < 64) return (int)ns;
    int shift = 63 - __builtin_clzll(ns) - 6;
    int cell = (shift + 1) * 64 + (int)(ns >> shift) - 64;
    return cell < 64 * 40 ? cell : 64 * 40 - 1;
}

static inline void histogram_add(Histogram *h, int64_t duration) {
    uint64_t ns = duration < 0 ? 0 : (uint64_t)duration;
    h->count++;
    h->sum += ns;
    if (ns > h->max) h->max = ns;
    h->cell[histogram_cell(ns)]++;
}

/* Upper edge of the cell that holds the p-th part (0 < p <= 1), in nanoseconds; 0 when empty. */
static inline double histogram_at(const Histogram *h, double p) {
    uint64_t want = (uint64_t)(p * (double)h->count + 0.999999), seen = 0;
    if (!h->count) return 0;
    for (int i = 0; i < 64 * 40; i++) {
        seen += h->cell[i];
        if (seen < want) continue;
        double edge = i < 64 ? i : (double)((uint64_t)(i % 64 + 65) << (i / 64 - 1));
        return edge < (double)h->max ? edge : (double)h->max;
    }
    return (double)h->max;
}

/* As a JSON object in milliseconds. */
static inline void histogram_print(FILE *out, const char *name, const Histogram *h) {
    double mean = h->count ? (double)h->sum / (double)h->count : 0;
    fprintf(out, "\"%s\":{\"count\":%llu,\"mean\":%.4f,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"max\":%.4f}", name,
            (unsigned long long)h->count, mean / 1e6, histogram_at(h, 0.5) / 1e6, histogram_at(h, 0.9) / 1e6,
            histogram_at(h, 0.99) / 1e6, (double)h->max / 1e6);
}

#endif

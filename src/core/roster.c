#include "roster.h"

size_t
fm_roster_memory_size(unsigned count)
{
    return count
           * (sizeof(struct fm_roster_entry) + sizeof(struct fm_stats)
              + sizeof(struct fm_last_words));
}

void
fm_roster_attach(struct fm_roster *roster, void *memory, unsigned count)
{
    roster->entries = memory;
    roster->stats = (struct fm_stats *)(roster->entries + count);
    roster->last_words = (struct fm_last_words *)(roster->stats + count);
    roster->count = count;
}

void
fm_roster_init(struct fm_roster *roster)
{
    for (unsigned i = 0; i < roster->count; i++) {
        fm_store_relaxed(&roster->entries[i].alive, 1);
        fm_doorbell_init(&roster->entries[i].work);
    }
}

/* The least busy worker that waits for `limit` or less, or NULL; *wanted is what it waits for. */
static struct fm_roster_entry *
find_waiting(struct fm_roster *roster, uint64_t limit, uint64_t *wanted)
{
    struct fm_roster_entry *best = NULL;
    uint32_t best_active = UINT32_MAX;
    for (unsigned i = 0; i < roster->count; i++) {
        struct fm_roster_entry *entry = &roster->entries[i];
        uint64_t wants = fm_doorbell_wanted(&entry->work);
        uint32_t active = fm_load_relaxed(&entry->active);
        if (wants <= limit && active < best_active && fm_load_relaxed(&entry->alive)) {
            best = entry;
            best_active = active;
            *wanted = wants;
        }
    }
    return best;
}

void
fm_roster_call(struct fm_roster *roster, uint64_t limit, uint64_t most)
{
    while (most > 0) {
        uint64_t wanted;
        struct fm_roster_entry *entry = find_waiting(roster, limit, &wanted);
        if (entry == NULL) {
            return;
        }
        most -= fm_doorbell_answer(&entry->work, wanted);
    }
}

void
fm_roster_call_all(struct fm_roster *roster)
{
    for (unsigned i = 0; i < roster->count; i++) {
        fm_doorbell_ring(&roster->entries[i].work);
    }
}

uint64_t
fm_roster_share(const struct fm_roster *roster, uint64_t waiting)
{
    uint64_t threads = waiting;
    uint64_t alive = 0;
    for (unsigned i = 0; i < roster->count; i++) {
        if (fm_load_relaxed(&roster->entries[i].alive)
            && !fm_load_relaxed(&roster->entries[i].solo)) {
            alive++;
            threads += fm_load_relaxed(&roster->entries[i].active);
        }
    }
    return alive > 0 ? (threads + alive - 1) / alive : 0;
}

bool
fm_roster_is_at_work(const struct fm_roster *roster, const struct fm_slots *slots, unsigned worker)
{
    return fm_load_relaxed(&roster->entries[worker].started) == 0
           || fm_slots_are_run_by(slots, worker);
}

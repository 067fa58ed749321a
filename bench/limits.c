/* The floor under the benchmark: what this machine does when nothing of Python is in the way.
 *
 * Prints one `name value` a line. Each value is the best of several runs: a limit is what can be reached, and noise
 * only ever takes away from it. Names end in their unit: us, ns, gbs (10^9 bytes a second), mps (10^6 a second). */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 128              /* two cache lines, for the adjacent-line prefetcher */
#define SLOTS 4096            /* of the record ring; a power of two */
#define COPY_BYTES (64u << 20)

struct record {
    uint64_t words[2];
};

/* One anonymous shared mapping. Each word on lines of its own: `asked` is written by the parent, `answered` by the
 * child; `tail` by the producer (the child), `head` by the consumer. */
struct stage {
    _Alignas(LINE) _Atomic uint32_t asked;
    _Alignas(LINE) _Atomic uint32_t answered;
    _Alignas(LINE) _Atomic uint64_t tail;
    _Alignas(LINE) _Atomic uint64_t head;
    _Alignas(LINE) pthread_mutex_t robust;
    _Alignas(LINE) struct record ring[SLOTS];
};

static struct stage *stage;

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static pid_t fork_or_fail(void)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    return pid;
}

/* Waits until *word is `wanted`: by looking, or by sleeping on it. */
static void await(_Atomic uint32_t *word, uint32_t wanted, bool sleeping)
{
    uint32_t seen;
    while ((seen = atomic_load_explicit(word, memory_order_acquire)) != wanted)
        if (sleeping)
            syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void say(_Atomic uint32_t *word, uint32_t value, bool sleeping)
{
    atomic_store_explicit(word, value, memory_order_release);
    if (sleeping)
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static double round_trip(uint32_t trips, bool sleeping)
{
    atomic_store(&stage->asked, 0);
    atomic_store(&stage->answered, 0);
    pid_t child = fork_or_fail();
    if (child == 0) {
        for (uint32_t i = 1; i <= trips; i++) {
            await(&stage->asked, i, sleeping);
            say(&stage->answered, i, sleeping);
        }
        _exit(0);
    }
    /* The first trip waits for the child to be there at all. */
    say(&stage->asked, 1, sleeping);
    await(&stage->answered, 1, sleeping);
    int64_t begin = clock_ns();
    for (uint32_t i = 2; i <= trips; i++) {
        say(&stage->asked, i, sleeping);
        await(&stage->answered, i, sleeping);
    }
    int64_t spent = clock_ns() - begin;
    waitpid(child, NULL, 0);
    return spent / 1e3 / (trips - 1);
}

static double spin_us(void)
{
    return round_trip(200000, false);
}

static double futex_us(void)
{
    return round_trip(10000, true);
}

/* Small records through a ring, one process writing and one reading, both caching the other's index as a good queue
 * would, neither ever asleep. */
static double spsc_mps(void)
{
    const uint64_t count = 4000000;
    atomic_store(&stage->tail, 0);
    atomic_store(&stage->head, 0);
    pid_t child = fork_or_fail();
    if (child == 0) {
        uint64_t head = 0;
        for (uint64_t i = 0; i < count; i++) {
            while (i - head == SLOTS)
                head = atomic_load_explicit(&stage->head, memory_order_acquire);
            stage->ring[i % SLOTS] = (struct record){{i, ~i}};
            atomic_store_explicit(&stage->tail, i + 1, memory_order_release);
        }
        _exit(0);
    }
    uint64_t tail = 0, sum = 0;
    int64_t begin = 0;
    for (uint64_t i = 0; i < count; i++) {
        while (tail == i)
            tail = atomic_load_explicit(&stage->tail, memory_order_acquire);
        if (begin == 0)
            begin = clock_ns();
        sum += stage->ring[i % SLOTS].words[0];
        atomic_store_explicit(&stage->head, i + 1, memory_order_release);
    }
    int64_t spent = clock_ns() - begin;
    waitpid(child, NULL, 0);
    if (sum != count * (count - 1) / 2)
        fail("records were lost");
    return count * 1e3 / spent;
}

static double copy_gbs(bool recycled)
{
    int fd = memfd_create("limits", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, COPY_BYTES) != 0)
        fail("memfd");
    char *to = mmap(NULL, COPY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *from = malloc(COPY_BYTES);
    if (to == MAP_FAILED || from == NULL)
        fail("memory");
    memset(from, 1, COPY_BYTES);
    if (recycled)
        memcpy(to, from, COPY_BYTES);
    int64_t begin = clock_ns();
    memcpy(to, from, COPY_BYTES);
    int64_t spent = clock_ns() - begin;
    free(from);
    munmap(to, COPY_BYTES);
    close(fd);
    return (double)COPY_BYTES / spent;
}

static double cold_gbs(void)
{
    return copy_gbs(false);
}

static double warm_gbs(void)
{
    return copy_gbs(true);
}

static double mutex_ns(void)
{
    const int count = 2000000;
    int64_t begin = clock_ns();
    for (int i = 0; i < count; i++) {
        pthread_mutex_lock(&stage->robust);
        pthread_mutex_unlock(&stage->robust);
    }
    return (double)(clock_ns() - begin) / count;
}

static double fork_us(void)
{
    const int count = 100;
    int64_t begin = clock_ns();
    for (int i = 0; i < count; i++) {
        pid_t child = fork_or_fail();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    return (clock_ns() - begin) / 1e3 / count;
}

/* `better`: +1 if more is better, -1 if less is. */
static void print_best(const char *name, double (*measure)(void), int better)
{
    double best = measure();
    for (int run = 1; run < 5; run++) {
        double value = measure();
        if ((value - best) * better > 0)
            best = value;
    }
    printf("%s %.6g\n", name, best);
    fflush(stdout);
}

int main(void)
{
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage == MAP_FAILED)
        fail("mmap");
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&stage->robust, &attributes);
    print_best("spin_us", spin_us, -1);
    print_best("futex_us", futex_us, -1);
    print_best("spsc_mps", spsc_mps, +1);
    print_best("cold_gbs", cold_gbs, +1);
    print_best("warm_gbs", warm_gbs, +1);
    print_best("mutex_ns", mutex_ns, -1);
    print_best("fork_us", fork_us, -1);
    return 0;
}

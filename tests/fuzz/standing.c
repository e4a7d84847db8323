/* How long the event loop of one process stands: what its thread does between two waits for events.
 *
 * libuv, and so uvloop, waits in epoll_pwait and nowhere else, once or more in each round. From the return of one wait
 * to the entry of the next the loop serves what came, and nobody else. For the first thread of the process, which runs
 * the loop, the longest such time goes into the page that the file STANDING_FILE holds, as processor time of that
 * thread and as time by the clock, without what the thread waited for a processor. A reader who adds 1 to `epoch` has
 * the maxima begin anew with the next round. Children do not inherit any of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct page {
    uint64_t epoch;   /* written by the reader alone; all others by the loop's thread alone */
    uint64_t begun;   /* the epoch of the maxima */
    uint64_t rounds;  /* since the start */
    uint64_t waiting; /* 1: in a wait, so all before is in the figures */
    uint64_t cpu_ns;  /* the longest stand: processor time of the thread */
    uint64_t held_ns; /* the longest stand: time by the clock, without that in the queue for a processor */
};

static volatile struct page *page;
static int schedstat = -1;
static uint64_t cpu_at, clock_at, queued_at;
static __thread int is_loop = -1;
static int (*real)(int, struct epoll_event *, int, int, const sigset_t *);

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("STANDING_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    *(void **)&real = dlsym(RTLD_NEXT, "epoll_pwait");
    unsetenv("LD_PRELOAD");
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        page = mapped;
    close(fd);
    schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

static uint64_t ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Time that the thread has spent in the queue for a processor: the second number of its schedstat. */
static uint64_t queued_ns(void) {
    char text[96];
    ssize_t size = schedstat < 0 ? -1 : pread(schedstat, text, sizeof text - 1, 0);
    if (size <= 0)
        return 0;
    text[size] = 0;
    char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) : 0;
}

static void note_entry(void) {
    uint64_t cpu = ns(CLOCK_THREAD_CPUTIME_ID) - cpu_at;
    uint64_t held = ns(CLOCK_MONOTONIC) - clock_at;
    uint64_t queued = queued_ns() - queued_at;
    held = held > queued ? held - queued : 0;
    if (page->rounds++) { /* before the first wait the loop did not run yet */
        if (cpu > page->cpu_ns)
            page->cpu_ns = cpu;
        if (held > page->held_ns)
            page->held_ns = held;
    }
    __atomic_store_n(&page->waiting, 1, __ATOMIC_SEQ_CST);
}

static void note_return(void) {
    __atomic_store_n(&page->waiting, 0, __ATOMIC_SEQ_CST);
    uint64_t epoch = page->epoch;
    if (epoch != page->begun) {
        page->cpu_ns = page->held_ns = 0;
        page->begun = epoch;
    }
    queued_at = queued_ns();
    clock_at = ns(CLOCK_MONOTONIC);
    cpu_at = ns(CLOCK_THREAD_CPUTIME_ID);
}

int epoll_pwait(int epfd, struct epoll_event *events, int most, int timeout, const sigset_t *mask) {
    if (is_loop < 0)
        is_loop = page && syscall(SYS_gettid) == getpid();
    if (!is_loop)
        return real(epfd, events, most, timeout, mask);
    note_entry();
    int count = real(epfd, events, most, timeout, mask);
    note_return();
    return count;
}

/* Threads for the loops: `parallel` hands out ranges of rows to whichever thread is free. The
   ranges depend on `grain` alone, so where that does not depend on the threads, nothing does. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MOST_THREADS 64
#define SPINS 4000 /* about 0.1 ms */
#if defined(__x86_64__)
#define PAUSE __builtin_ia32_pause()
#else
#define PAUSE (void)0
#endif

typedef void (*Work)(void *job, long from, long to);

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    Work work;
    void *job;
    long rows, grain;
    atomic_long next;
    atomic_long turn;   /* counts jobs, so that a worker sees a new one */
    int wanted;        /* helpers that may still join this job */
    atomic_int inside; /* helpers at work on it */
    int workers;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};
static atomic_flag pool_busy = ATOMIC_FLAG_INIT;

static void take_ranges(Work work, void *job, long rows, long grain) {
    for (;;) {
        long from = atomic_fetch_add(&pool.next, grain);
        if (from >= rows) return;
        work(job, from, from + grain < rows ? from + grain : rows);
    }
}

static void *worker(void *nothing) {
    long seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        if (pool.turn == seen) { /* the next job is often near, and waking up takes long */
            pthread_mutex_unlock(&pool.lock);
            for (int spin = 0; pool.turn == seen && spin < SPINS; spin++) PAUSE;
            pthread_mutex_lock(&pool.lock);
        }
        while (pool.turn == seen || !pool.wanted) {
            seen = pool.turn;
            pthread_cond_wait(&pool.wake, &pool.lock);
        }
        seen = pool.turn;
        pool.wanted--;
        pool.inside++;
        Work work = pool.work;
        void *job = pool.job;
        long rows = pool.rows, grain = pool.grain;
        pthread_mutex_unlock(&pool.lock);
        take_ranges(work, job, rows, grain);
        pthread_mutex_lock(&pool.lock);
        if (!--pool.inside) pthread_cond_signal(&pool.done);
    }
    return nothing;
}

/* A forked child has no workers. */
static void forget_workers(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.workers = pool.wanted = pool.inside = 0;
    atomic_flag_clear(&pool_busy);
}

/* work(job, from, to) for ranges of `grain` rows (the last may be shorter) that cover `rows`. */
static void parallel(Work work, void *job, long rows, long grain, int threads) {
    if (grain < 1) grain = 1;
    long ranges = (rows + grain - 1) / grain;
    int helpers = threads > MOST_THREADS ? MOST_THREADS - 1 : threads - 1;
    if (helpers > ranges - 1) helpers = ranges - 1;
    if (helpers < 1 || atomic_flag_test_and_set(&pool_busy)) { /* busy: another thread's job */
        for (long from = 0; from < rows; from += grain)
            work(job, from, from + grain < rows ? from + grain : rows);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    while (pool.workers < helpers) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, NULL)) break;
        pthread_detach(thread);
        pool.workers++;
    }
    pool.work = work, pool.job = job, pool.rows = rows, pool.grain = grain;
    atomic_store(&pool.next, 0);
    pool.wanted = helpers, pool.turn++;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    take_ranges(work, job, rows, grain);
    for (int spin = 0; pool.inside && spin < 10000; spin++) PAUSE; /* sleeping costs more */
    pthread_mutex_lock(&pool.lock);
    pool.wanted = 0; /* who has not woken up by now need not come */
    while (pool.inside) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    atomic_flag_clear(&pool_busy);
}

static pthread_key_t scratch_key; /* its destructor frees a thread's scratch when the thread ends */

/* Memory that a thread keeps from one range to the next; NULL where there is none to be had. */
static float *scratch(size_t floats) {
    static __thread float *kept;
    static __thread size_t length;
    if (floats > length) {
        free(kept);
        kept = NULL, length = 0;
        if (posix_memalign((void **)&kept, 64, 4 * floats)) kept = NULL;
        length = kept ? floats : 0;
        pthread_setspecific(scratch_key, kept);
    }
    return kept;
}

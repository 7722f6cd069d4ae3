/* Gets memory in every way that C has, gives it back in every way, and handles a signal meanwhile. Says `whole`
 * and ends with 7 where all of it was as the manual says. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void handle(int number) { handled = number; }

static int is_at(const void *memory, uintptr_t alignment) { return memory && (uintptr_t)memory % alignment == 0; }

#define CHECK(what) if (!(what)) { printf("line %d: %s\n", __LINE__, #what); return 1; }

static void *churn(void *seed) {
    void *some[64] = {0};
    unsigned at = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 20000; i++) {
        at = at * 1103515245 + 12345;
        unsigned slot = (at >> 16) % 64;
        free(some[slot]);
        some[slot] = calloc(1 + at % 3000, 1);
        if (!some[slot] || *(char *)some[slot]) return "torn";
        memset(some[slot], 9, 1 + at % 3000);
    }
    for (int i = 0; i < 64; i++) free(some[i]);
    return NULL;
}

int main(void) {
    void *volatile memory;
    void *aligned = NULL;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK((memory = malloc(0)) != NULL); free(memory);
    CHECK(malloc_usable_size(memory = malloc(100)) >= 100);
    CHECK((memory = realloc(memory, 5000)) != NULL);
    CHECK((memory = reallocarray(memory, 100, 100)) != NULL); free(memory);
    volatile size_t huge = SIZE_MAX / 2;
    errno = 0;
    CHECK(reallocarray(NULL, huge, 4) == NULL && errno == ENOMEM);
    CHECK(calloc(huge, 4) == NULL);
    CHECK(posix_memalign(&aligned, 256, 10) == 0 && is_at(aligned, 256)); free(aligned);
    CHECK(posix_memalign(&aligned, 3, 10) == EINVAL);
    CHECK(is_at(memory = aligned_alloc(64, 128), 64)); free(memory);
    CHECK(is_at(memory = memalign(512, 10), 512)); free(memory);
    CHECK(is_at(memory = valloc(10), page)); free(memory);
    CHECK(is_at(memory = pvalloc(10), page) && malloc_usable_size(memory) >= page); free(memory);
    free(NULL);
    CHECK(strcmp(memory = strdup("text"), "text") == 0); free(memory);

    struct sigaction action = {.sa_handler = handle};
    sigaction(SIGUSR1, &action, NULL);
    kill(getpid(), SIGUSR1);
    CHECK(handled == SIGUSR1);

    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    for (int i = 0; i < 8; i++) {
        void *torn;
        CHECK(pthread_join(threads[i], &torn) == 0 && torn == NULL);
    }
    /* All descriptors but the output are closed, as a daemon does. The next one must be the lowest. */
    for (int fd = 3; fd < 1024; fd++) close(fd);
    CHECK(dup(1) == 3);
    puts("whole");
    return 7;
}

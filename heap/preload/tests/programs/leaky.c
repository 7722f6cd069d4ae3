/* Keeps memory in one function and uses it in another, or only uses it. Arguments: `leak`, `healthy`, or
 * `fork`, whose child leaks; beside it a thread of its own that uses memory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX 1000000
#define KEPT_BYTES 20000
#define FILL_MAX 500

/* Seen from outside, so that no compiler takes the allocations away. */
void *volatile kept[KEPT_MAX];
void *volatile used;
static int kept_count;

__attribute__((noinline)) void keep_frame(void) {
    if (kept_count == KEPT_MAX) return;
    char *frame = malloc(KEPT_BYTES);
    memset(frame, 1, KEPT_BYTES);
    kept[kept_count++] = frame;
}

__attribute__((noinline)) void use_and_free(void) {
    for (int i = 0; i < 20; i++) {
        char *page = malloc(30000 + i);
        memset(page, 2, 30000);
        used = page;
        free(page);
    }
}

/* A cache: full after FILL_MAX, and then its oldest is replaced. */
__attribute__((noinline)) void keep_newest(void) {
    static int at;
    char *page = malloc(KEPT_BYTES);
    memset(page, 3, KEPT_BYTES);
    free(kept[at]);
    kept[at] = page;
    at = (at + 1) % FILL_MAX;
}

static void *work(void *nothing) {
    for (;;) {
        use_and_free();
        struct timespec pace = {0, 5000000};
        nanosleep(&pace, NULL);
    }
    return nothing;
}

int main(int count, char **words) {
    const char *way = count > 1 ? words[1] : "leak";
    int leaks = strcmp(way, "healthy") != 0;
    pid_t child = strcmp(way, "fork") == 0 ? fork() : 0;
    if (child != 0) {
        int status;
        waitpid(child, &status, 0);
        return 0;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    for (int i = 0; !leaks && i < FILL_MAX; i++) keep_newest();
    printf("listening %d\n", getpid());
    fflush(stdout);
    for (;;) {
        if (leaks) keep_frame(); else keep_newest();
        use_and_free();
        struct timespec pace = {0, 2000000};
        nanosleep(&pace, NULL);
    }
}

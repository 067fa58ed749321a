/* A server's page: its clients see it on, closed, or lost when its thread has ended, killed or not. */
#include "os/memfd.h"
#include "runner.h"
#include "shm/life.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(a_client_sees_the_server_on_and_then_closed)
{
    struct cmp_life server, client;
    CHECK_EQ(cmp_life_begin(&server), 0);
    CHECK_EQ(cmp_life_attach(&client, dup(server.fd)), 0);
    CHECK_EQ(cmp_life_state(&client), CMP_LIFE_ON);
    cmp_life_close(&server);
    CHECK_EQ(cmp_life_state(&client), CMP_LIFE_CLOSED);
    cmp_life_leave(&client);
    cmp_life_leave(&server);
}

TEST(a_killed_server_is_lost_to_its_clients)
{
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    struct cmp_life life;
    /* The page has to come back to this process: make it here, hold it there. */
    CHECK_EQ(cmp_life_begin(&life), 0);
    cmp_mutex_unlock(&life.shm->held);
    life.serving = 0; /* another is the server from now on */
    int page = dup(life.fd);
    pid_t child = fork();
    if (child == 0) {
        if (cmp_mutex_try(&life.shm->held) != 0 || write(ready[1], "r", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    struct cmp_life client;
    CHECK_EQ(cmp_life_attach(&client, page), 0);
    CHECK_EQ(cmp_life_state(&client), CMP_LIFE_ON);
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(cmp_life_state(&client), CMP_LIFE_LOST);
    cmp_life_leave(&client);
    cmp_life_leave(&life);
    close(ready[0]);
    close(ready[1]);
}

TEST(a_page_of_something_else_is_refused)
{
    int ends[2];
    struct cmp_life life;
    CHECK_EQ(pipe(ends), 0);
    errno = ENXIO;
    CHECK_EQ(cmp_life_attach(&life, ends[0]), -EPROTO);
    CHECK_EQ(errno, ENXIO);
    close(ends[0]);
    close(ends[1]);
}

TEST(a_page_that_might_shrink_is_refused)
{
    struct cmp_life server, client;
    char page[4096];
    int fd;
    CHECK_EQ(cmp_life_begin(&server), 0);
    CHECK_EQ(cmp_memfd_create("test", &fd), 0);
    CHECK_EQ(pread(server.fd, page, sizeof page, 0), (ssize_t)sizeof page);
    CHECK_EQ(pwrite(fd, page, sizeof page, 0), (ssize_t)sizeof page);
    CHECK_EQ(cmp_life_attach(&client, fd), -EPROTO);
    CHECK_EQ(cmp_memfd_seal(fd), 0);
    CHECK_EQ(cmp_life_attach(&client, fd), 0);
    cmp_life_leave(&client);
    cmp_life_leave(&server);
}

TEST(descriptor_number_that_others_reused_is_not_closed)
{
    struct cmp_life server, client;
    CHECK_EQ(cmp_life_begin(&server), 0);
    CHECK_EQ(cmp_life_attach(&client, dup(server.fd)), 0);
    int number = client.fd;
    CHECK(cmp_life_owns_fd(&client));
    close(number);
    CHECK(!cmp_life_owns_fd(&client));
    CHECK_EQ(open("/dev/null", O_RDONLY), number);
    CHECK(!cmp_life_owns_fd(&client));
    cmp_life_leave(&client);
    CHECK(fcntl(number, F_GETFD) >= 0);
    close(number);
    cmp_life_leave(&server);
}

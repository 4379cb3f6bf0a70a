// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The lab's agent: runs shell scripts inside the lab machine for the harness outside.
//
// It speaks over a virtio-serial port, because that survives being saved and restored and needs
// no network. Every message is a line of text, then as many bytes as the line announced:
//
//   in:   run ID TIMEOUT_MS SCRIPT_BYTES INPUT_BYTES\n  script  input
//   out:  ID STATUS OUTPUT_BYTES\n  output
//
// Scripts run side by side, each in its own session, standard input from INPUT, both outputs in
// one file. The agent waits for the script's process alone and then reads the file: a child left
// in the background may keep the file open without holding up the answer, as a pipe would.
// STATUS is what a shell would show: exit status, 128 + signal, or 124 after the time limit. A
// script that is past its limit is answered at once, even when its process cannot be killed
// because the kernel holds it (state D): that is one of the things the lab exists to show.
//
// It is C and not shell because a fork costs 40 ms under emulation.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/virtio-ports/lab.cmd"
#define WORK_FOLDER "/run/lab"
#define MAX_JOBS 64
#define MAX_OUTPUT (4 << 20)

struct job {
	pid_t pid; // 0: the slot is free
	long id;
	int answered; // past its limit, or the harness that asked has gone
	long deadline_ms;
	int output;
};

static struct job jobs[MAX_JOBS];
static int port = -1;

static long now_ms(void)
{
	struct timespec t;

	// Monotonic, because the harness sets the wall clock of a restored machine.
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int read_all(char *to, size_t length)
{
	while (length) {
		ssize_t n = read(port, to, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		to += n;
		length -= n;
	}
	return 0;
}

static int write_all(int fd, const char *from, size_t length)
{
	while (length) {
		ssize_t n = write(fd, from, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		from += n;
		length -= n;
	}
	return 0;
}

// Opens a file that has no name: it goes when its last user does.
static int open_scratch(void)
{
	return open(WORK_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

// Moves length bytes from the port to a scratch file and returns it, rewound.
static int receive_file(size_t length)
{
	static char chunk[65536];
	int fd = open_scratch();

	while (length) {
		size_t n = length < sizeof(chunk) ? length : sizeof(chunk);

		if (read_all(chunk, n) || (fd >= 0 && write_all(fd, chunk, n)))
			break;
		length -= n;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

static void answer(struct job *job, int status)
{
	static char output[MAX_OUTPUT];
	char head[64];
	ssize_t length = 0, n;

	while ((n = pread(job->output, output + length, sizeof(output) - length, length)) > 0)
		length += n;
	n = snprintf(head, sizeof(head), "%ld %d %zd\n", job->id, status, length);
	if (write_all(port, head, n) == 0)
		write_all(port, output, length);
	job->answered = 1;
}

// Becomes the script; does not return.
static void become_script(int script, int input, int output)
{
	char path[32];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(input, 0);
	dup2(output, 1);
	dup2(output, 2);
	// The script's own descriptor must outlive exec, away from the small numbers that scripts
	// like to use for themselves.
	script = fcntl(script, F_DUPFD, 200);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", script);
	execl("/bin/bash", "bash", path, NULL);
	_exit(127);
}

static void start_job(long id, long timeout_ms, size_t script_bytes, size_t input_bytes)
{
	int script = receive_file(script_bytes);
	int input = receive_file(input_bytes);
	struct job *job = jobs;

	while (job < jobs + MAX_JOBS && job->pid)
		job++;
	if (job == jobs + MAX_JOBS) {
		dprintf(port, "%ld 125 0\n", id);
	} else {
		*job = (struct job){ .id = id, .deadline_ms = now_ms() + timeout_ms };
		job->output = open_scratch();
		job->pid = fork();
		if (job->pid == 0)
			become_script(script, input, job->output);
	}
	close(script);
	close(input);
}

static void end_jobs(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct job *job = jobs; job < jobs + MAX_JOBS; job++) {
			if (job->pid != pid)
				continue;
			if (!job->answered)
				answer(job, WIFEXITED(status) ? WEXITSTATUS(status)
							      : 128 + WTERMSIG(status));
			close(job->output);
			job->pid = 0;
		}
	}
}

static void end_late_jobs(void)
{
	for (struct job *job = jobs; job < jobs + MAX_JOBS; job++) {
		if (!job->pid || job->answered || now_ms() < job->deadline_ms)
			continue;
		// The whole session's process group; what moved itself elsewhere is left alone.
		kill(-job->pid, SIGKILL);
		answer(job, 124);
	}
}

// Reads one request line; what is not one is dropped, so that a torn line cannot stop the agent.
static int receive_request(void)
{
	char line[128];
	size_t length = 0, script_bytes, input_bytes;
	long id, timeout_ms;

	do {
		if (length == sizeof(line) - 1 || read_all(line + length, 1))
			return -1;
	} while (line[length++] != '\n');
	line[length] = 0;
	if (sscanf(line, "run %ld %ld %zu %zu", &id, &timeout_ms, &script_bytes, &input_bytes) != 4)
		return -1;
	start_job(id, timeout_ms, script_bytes, input_bytes);
	return 0;
}

// The harness went away, for example because this machine was saved and comes back elsewhere:
// nobody waits for the old answers, and the new harness counts its requests from one again.
static void forget_harness(void)
{
	for (struct job *job = jobs; job < jobs + MAX_JOBS; job++)
		job->answered = 1;
	usleep(10 * 1000);
}

int main(void)
{
	sigset_t children;
	struct pollfd fds[2];

	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "dumb", 1);
	signal(SIGPIPE, SIG_IGN);
	mkdir(WORK_FOLDER, 0700);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	port = open(PORT, O_RDWR | O_CLOEXEC);
	if (port < 0) {
		perror(PORT);
		return 1;
	}
	fds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = signalfd(-1, &children, SFD_CLOEXEC), .events = POLLIN };
	for (;;) {
		struct signalfd_siginfo info;

		poll(fds, 2, 200);
		if (fds[1].revents & POLLIN && read(fds[1].fd, &info, sizeof(info)) > 0)
			end_jobs();
		if (fds[0].revents & POLLHUP)
			forget_harness();
		else if (fds[0].revents & POLLIN && receive_request())
			forget_harness();
		end_late_jobs();
	}
}

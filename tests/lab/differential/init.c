// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The only program of a differential machine: shows what the kernel has made of the PCI functions
// and changes them on request. The harness is tests/src/differential/.
//
// It speaks over the second serial port, a line at a time. Every answer ends with a line '.' or,
// where the request failed, '! REASON'.
//
//   dump                        each function as one line
//                                 f ADDRESS UPSTREAM MODALIAS GROUP PHYSFN CONFIG_BYTES
//                               ('-' for what it has not), then the rows of 16 bytes of its
//                               config space that are not all zero
//                                 c OFFSET HEX
//   write ADDRESS OFFSET WORD   writes a word of config space; both numbers hexadecimal
//   remove ADDRESS
//   rescan BRIDGE               the bus below the bridge; '-': all buses
//   awake                       no function sleeps from now on: one that wakes has its registers
//                               written anew
//   numvfs ADDRESS COUNT        makes so many virtual functions
//   off                         ends the machine
//
// It is C and not shell because a fork costs 40 ms under emulation.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define PORT "/dev/ttyS1"
#define DEVICES "/sys/bus/pci/devices"
#define CONFIG_BYTES 4096
#define ROW 16

static FILE *port;

static __attribute__((format(printf, 2, 3))) int write_file(const char *text, const char *form, ...)
{
	char path[512];
	va_list args;
	ssize_t n;
	int fd;

	va_start(args, form);
	vsnprintf(path, sizeof(path), form, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

// The last component of where a link of a function leads, or "-".
static const char *read_link(char *to, size_t size, const char *address, const char *name)
{
	char path[512];
	ssize_t n;
	char *slash;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", address, name);
	n = readlink(path, to, size - 1);
	if (n < 0)
		return "-";
	to[n] = 0;
	slash = strrchr(to, '/');
	return slash ? slash + 1 : to;
}

// The parent folder of a function is the bridge above it, or its root bus.
static const char *read_upstream(char *to, size_t size, const char *address)
{
	char path[512];
	char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), DEVICES "/%s", address);
	n = readlink(path, to, size - 1);
	if (n < 0)
		return "-";
	to[n] = 0;
	slash = strrchr(to, '/');
	if (!slash)
		return "-";
	*slash = 0;
	slash = strrchr(to, '/');
	return slash && strncmp(slash, "/pci", 4) ? slash + 1 : "-";
}

static void show_function(const char *address)
{
	static const char zeroes[ROW];
	char upstream[512], group[512], physfn[512], path[512], modalias[128] = "-";
	static char config[CONFIG_BYTES];
	ssize_t bytes = 0, n;
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/modalias", address);
	file = fopen(path, "re");
	if (file) {
		if (fgets(modalias, sizeof(modalias), file))
			modalias[strcspn(modalias, "\n")] = 0;
		fclose(file);
	}
	snprintf(path, sizeof(path), DEVICES "/%s/config", address);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = pread(fd, config + bytes, sizeof(config) - bytes, bytes)) > 0)
		bytes += n;
	close(fd);
	fprintf(port, "f %s %s %s %s %s %zd\n", address,
		read_upstream(upstream, sizeof(upstream), address), modalias,
		read_link(group, sizeof(group), address, "iommu_group"),
		read_link(physfn, sizeof(physfn), address, "physfn"), bytes);
	for (ssize_t row = 0; row + ROW <= bytes; row += ROW) {
		if (!memcmp(config + row, zeroes, ROW))
			continue;
		fprintf(port, "c %zx ", row);
		for (int at = 0; at < ROW; at++)
			fprintf(port, "%02x", (unsigned char)config[row + at]);
		fputc('\n', port);
	}
}

static int for_all(void (*act)(const char *address))
{
	DIR *folder = opendir(DEVICES);
	struct dirent *entry;

	if (!folder)
		return -1;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			act(entry->d_name);
	closedir(folder);
	return 0;
}

static void keep_awake(const char *address)
{
	write_file("on", DEVICES "/%s/power/control", address);
}

static int write_word(const char *address, unsigned int offset, unsigned int word)
{
	unsigned char bytes[2] = { word & 0xff, word >> 8 & 0xff };
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/config", address);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = pwrite(fd, bytes, sizeof(bytes), offset);
	close(fd);
	return n == sizeof(bytes) ? 0 : -1;
}

static int rescan(const char *bridge)
{
	char path[512];
	struct dirent *entry;
	int result = -1;
	DIR *folder;

	if (!strcmp(bridge, "-"))
		return write_file("1", "/sys/bus/pci/rescan");
	snprintf(path, sizeof(path), DEVICES "/%s/pci_bus", bridge);
	folder = opendir(path);
	if (!folder)
		return -1;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			result = write_file("1", "%s/%s/rescan", path, entry->d_name);
	closedir(folder);
	return result;
}

// The driver that makes virtual functions of anything; the device's own would be many modules.
static int make_virtual_functions(const char *address, const char *count)
{
	int module = open("/pci-pf-stub.ko", O_RDONLY | O_CLOEXEC);

	if (module < 0)
		return -1;
	if (syscall(SYS_finit_module, module, "", 0) && errno != EEXIST)
		return -1;
	close(module);
	if (write_file("pci-pf-stub", DEVICES "/%s/driver_override", address) ||
	    (write_file(address, "/sys/bus/pci/drivers_probe")) ||
	    write_file("0", DEVICES "/%s/sriov_drivers_autoprobe", address))
		return -1;
	return write_file(count, DEVICES "/%s/sriov_numvfs", address);
}

static int obey(char *line)
{
	char address[64], number[16];
	unsigned int offset, word;

	if (!strcmp(line, "dump"))
		return for_all(show_function);
	if (!strcmp(line, "awake"))
		return for_all(keep_awake);
	if (sscanf(line, "write %63s %x %x", address, &offset, &word) == 3)
		return write_word(address, offset, word);
	if (sscanf(line, "remove %63s", address) == 1)
		return write_file("1", DEVICES "/%s/remove", address);
	if (sscanf(line, "rescan %63s", address) == 1)
		return rescan(address);
	if (sscanf(line, "numvfs %63s %15s", address, number) == 2)
		return make_virtual_functions(address, number);
	if (!strcmp(line, "off")) {
		reboot(RB_POWER_OFF);
		return -1;
	}
	errno = ENOSYS;
	return -1;
}

int main(void)
{
	struct termios raw;
	char line[256];
	int fd;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open(PORT, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || tcgetattr(fd, &raw)) {
		perror(PORT);
		return 1;
	}
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	tcsetattr(fd, TCSANOW, &raw);
	port = fdopen(fd, "r+e");
	setvbuf(port, NULL, _IOFBF, 1 << 16);
	fputs("hello\n", port);
	fflush(port);
	while (fgets(line, sizeof(line), port)) {
		line[strcspn(line, "\n")] = 0;
		if (obey(line))
			fprintf(port, "! %s\n", strerror(errno));
		else
			fputs(".\n", port);
		fflush(port);
	}
	return 0;
}

/* A libnvidia-ml.so that a test compiles: two GPUs, of which the second tells little, a third that has
 * fallen off the bus, and no others. What it has no function for, an old library has none for either. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15,
       VERSION_MISMATCH = 18 };

struct memory { unsigned version; unsigned long long total, reserved, free, used; };
struct utilization { unsigned gpu, memory; };

static int first, second, lost;

int nvmlInit_v2(void)
{
#if defined HANGS
	for (;;)
		pause();
#elif defined NO_DRIVER
	return DRIVER_NOT_LOADED;
#elif defined MISMATCH
	return VERSION_MISMATCH;
#elif defined CRASHES
	return *(volatile int *)NULL;
#endif
	return SUCCESS;
}

int nvmlShutdown(void)
{
	return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *version, unsigned len)
{
	snprintf(version, len, "570.86.15");
	return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device)
{
	if (!strcasecmp(id, "00000000:01:00.0"))
		*device = &first;
	else if (!strcasecmp(id, "00000000:02:00.0"))
		*device = &second;
	else if (!strcasecmp(id, "00000000:03:00.0"))
		*device = &lost;
	else
		return NOT_FOUND;
	return SUCCESS;
}

/* Nobody shall ask by index: the order is turned round. */
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	*device = index ? &first : &second;
	return SUCCESS;
}

#define TELL(of_first)                                     \
	do {                                               \
		if (device == &lost)                       \
			return GPU_IS_LOST;                \
		if (device == &second)                     \
			return NOT_SUPPORTED;              \
		of_first;                                  \
		return SUCCESS;                            \
	} while (0)

int nvmlDeviceGetName(void *device, char *name, unsigned len)
{
	if (device == &lost)
		return GPU_IS_LOST;
	snprintf(name, len, "%s", device == &first ? "NVIDIA First" : "NVIDIA Second");
	return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned len)
{
	if (device == &lost)
		return GPU_IS_LOST;
	snprintf(uuid, len, "%s", device == &first ? "GPU-1" : "GPU-2");
	return SUCCESS;
}

int nvmlDeviceGetMinorNumber(void *device, unsigned *minor)
{
	if (device == &lost)
		return GPU_IS_LOST;
	*minor = device == &first ? 5 : 4;
	return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory)
{
	TELL((memory->total = 24ull << 30, memory->used = 3ull << 30));
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilization *rates)
{
	TELL(rates->gpu = 37);
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *degrees)
{
	TELL(*degrees = sensor == 0 ? 51 : 99);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
	TELL(*milliwatts = 99600);
}

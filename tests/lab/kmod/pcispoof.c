// SPDX-License-Identifier: GPL-2.0
//
// Shows chosen PCI functions under another identity, to the whole kernel: it answers the reads of
// their configuration space itself (the hook that aer_inject uses, pci_bus_set_ops()) and then
// has the functions enumerated anew, so that modalias, uevents, drivers, vfio and guests follow.
//
//   spoof=ADDRESS=VENDOR:DEVICE:CLASS[:SUBVENDOR:SUBDEVICE][,...]   all in hexadecimal
//
// Writing an ADDRESS of these to the parameter 'dead' makes its reads return all ones, as those of
// a card do that fell off the bus. Writing anything else brings all of them back.

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#define MAX_FUNCTIONS 16

static char *spoof = "";
module_param(spoof, charp, 0444);
MODULE_PARM_DESC(spoof, "ADDRESS=VENDOR:DEVICE:CLASS[:SUBVENDOR:SUBDEVICE][,...]");

struct function {
	int domain;
	unsigned int bus;
	unsigned int devfn;
	u32 id;
	u32 class;
	u32 subsystem; // 0: the device's own
	bool dead;
};

struct hooked_bus {
	struct pci_bus *bus;
	struct pci_ops *ops;
};

static struct function functions[MAX_FUNCTIONS];
static int function_count;
static struct hooked_bus buses[MAX_FUNCTIONS];
static int bus_count;

static struct pci_ops *real_ops(struct pci_bus *bus)
{
	int i;

	for (i = 0; i < bus_count; i++)
		if (buses[i].bus == bus)
			return buses[i].ops;
	// A child of a hooked bus, made after the hook, inherits our operations from it.
	return buses[0].ops;
}

static struct function *find_function(struct pci_bus *bus, unsigned int devfn)
{
	int i;

	for (i = 0; i < function_count; i++)
		if (functions[i].bus == bus->number && functions[i].devfn == devfn &&
		    functions[i].domain == pci_domain_nr(bus))
			return &functions[i];
	return NULL;
}

static int spoof_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	struct function *function = find_function(bus, devfn);
	u32 mask = size == 4 ? ~0u : (1u << (8 * size)) - 1;
	u32 word;
	int err;

	err = real_ops(bus)->read(bus, devfn, where, size, value);
	if (err || !function)
		return err;
	if (function->dead) {
		*value = mask;
		return 0;
	}

	switch (where & ~3) {
	case PCI_VENDOR_ID:
		word = function->id;
		break;
	case PCI_CLASS_REVISION:
		err = real_ops(bus)->read(bus, devfn, PCI_CLASS_REVISION, 4, &word);
		word = (word & 0xff) | function->class << 8;
		break;
	case PCI_SUBSYSTEM_VENDOR_ID:
		if (!function->subsystem)
			return 0;
		word = function->subsystem;
		break;
	default:
		return 0;
	}
	*value = word >> (8 * (where & 3)) & mask;
	return err;
}

static int spoof_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	return real_ops(bus)->write(bus, devfn, where, size, value);
}

static void __iomem *spoof_map_bus(struct pci_bus *bus, unsigned int devfn, int where)
{
	struct pci_ops *ops = real_ops(bus);

	return ops->map_bus ? ops->map_bus(bus, devfn, where) : NULL;
}

static struct pci_ops spoof_ops = {
	.read = spoof_read,
	.write = spoof_write,
	.map_bus = spoof_map_bus,
};

static int set_dead(const char *text, const struct kernel_param *param)
{
	unsigned int domain, bus, slot, func;
	int i, n = sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &func);

	for (i = 0; i < function_count; i++)
		functions[i].dead = n == 4 && functions[i].domain == domain &&
				    functions[i].bus == bus &&
				    functions[i].devfn == PCI_DEVFN(slot, func);
	return 0;
}

static const struct kernel_param_ops dead_ops = { .set = set_dead };
module_param_cb(dead, &dead_ops, NULL, 0200);
MODULE_PARM_DESC(dead, "ADDRESS of the function that shall look dead");

// Has the kernel forget the functions and find them again under their other identity.
static void enumerate_anew(void)
{
	struct pci_bus *bus = NULL;
	struct pci_dev *pdev;
	int i;

	for (i = 0; i < function_count; i++) {
		pdev = pci_get_domain_bus_and_slot(functions[i].domain, functions[i].bus,
						   functions[i].devfn);
		if (!pdev)
			continue;
		pci_stop_and_remove_bus_device_locked(pdev);
		pci_dev_put(pdev);
	}
	pci_lock_rescan_remove();
	while ((bus = pci_find_next_bus(bus)))
		pci_rescan_bus(bus);
	pci_unlock_rescan_remove();
}

static void hook_bus(struct pci_bus *bus)
{
	int i;

	for (i = 0; i < bus_count; i++)
		if (buses[i].bus == bus)
			return;
	buses[bus_count].bus = bus;
	buses[bus_count].ops = bus->ops;
	bus_count++;
	// The first read through the hook must find the entry.
	smp_wmb();
	pci_bus_set_ops(bus, &spoof_ops);
}

static int add_function(const char *word)
{
	unsigned int domain, bus, slot, func, vendor, device, class, subvendor, subdevice;
	struct pci_bus *found;
	int n = sscanf(word, "%x:%x:%x.%x=%x:%x:%x:%x:%x", &domain, &bus, &slot, &func, &vendor,
		       &device, &class, &subvendor, &subdevice);

	if ((n != 7 && n != 9) || function_count == MAX_FUNCTIONS)
		return -EINVAL;
	found = pci_find_bus(domain, bus);
	if (!found)
		return -ENODEV;
	functions[function_count++] = (struct function){
		.domain = domain,
		.bus = bus,
		.devfn = PCI_DEVFN(slot, func),
		.id = device << 16 | vendor,
		.class = class,
		.subsystem = n == 9 ? subdevice << 16 | subvendor : 0,
	};
	hook_bus(found);
	return 0;
}

static int __init spoof_init(void)
{
	char *list = kstrdup(spoof, GFP_KERNEL);
	char *rest = list;
	char *word;
	int err;

	while (rest && (word = strsep(&rest, ",")) && *word) {
		err = add_function(word);
		if (err)
			pr_err("pcispoof: '%s' is not a function of this machine: %d\n", word, err);
	}
	kfree(list);
	enumerate_anew();
	pr_info("pcispoof: %d functions on %d buses\n", function_count, bus_count);
	return 0;
}

static void __exit spoof_exit(void)
{
	int i;

	for (i = 0; i < bus_count; i++)
		pci_bus_set_ops(buses[i].bus, buses[i].ops);
	enumerate_anew();
}

module_init(spoof_init);
module_exit(spoof_exit);
MODULE_DESCRIPTION("lab: PCI functions under another identity");
MODULE_LICENSE("GPL");

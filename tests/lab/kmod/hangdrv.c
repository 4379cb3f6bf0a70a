// SPDX-License-Identifier: GPL-2.0
//
// A driver with faults: its probe fails as asked, and its remove blocks, the way nvidia's does
// while a client has the device open. It binds to what ids= names and to nothing by itself. Each
// device that it drives has a node /dev/fakegpu-ADDRESS that a test can hold open.
//
// nvidia.c is the same driver under the name 'nvidia'.

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

static char *ids = "";
module_param(ids, charp, 0444);
MODULE_PARM_DESC(ids, "VENDOR:DEVICE[,...] to drive, in hexadecimal");

static int probe_errno;
module_param(probe_errno, int, 0644);
MODULE_PARM_DESC(probe_errno, "errno that probe fails with, 0 for none");

static int probe_delay_ms;
module_param(probe_delay_ms, int, 0644);
MODULE_PARM_DESC(probe_delay_ms, "how long probe takes");

static int remove_ms;
module_param(remove_ms, int, 0644);
MODULE_PARM_DESC(remove_ms, "how long remove takes, -1 for until this is written again");

static int wait_users = 1;
module_param(wait_users, int, 0644);
MODULE_PARM_DESC(wait_users, "whether remove waits until the node is closed");

struct fakegpu {
	struct miscdevice misc;
	atomic_t users;
	char name[40];
};

static struct fakegpu *fakegpu_of(struct file *file)
{
	return container_of(file->private_data, struct fakegpu, misc);
}

static int hangdrv_open(struct inode *inode, struct file *file)
{
	atomic_inc(&fakegpu_of(file)->users);
	return 0;
}

static int hangdrv_release(struct inode *inode, struct file *file)
{
	atomic_dec(&fakegpu_of(file)->users);
	return 0;
}

static const struct file_operations hangdrv_fops = {
	.owner = THIS_MODULE,
	.open = hangdrv_open,
	.release = hangdrv_release,
};

static int hangdrv_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct fakegpu *gpu;
	int err;

	if (probe_delay_ms)
		msleep(probe_delay_ms);
	if (probe_errno) {
		dev_err(&pdev->dev, "probe fails with %d as asked\n", -probe_errno);
		return -probe_errno;
	}

	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	err = pci_enable_device(pdev);
	if (err)
		goto free;
	snprintf(gpu->name, sizeof(gpu->name), "fakegpu-%s", pci_name(pdev));
	gpu->misc.minor = MISC_DYNAMIC_MINOR;
	gpu->misc.name = gpu->name;
	gpu->misc.fops = &hangdrv_fops;
	gpu->misc.parent = &pdev->dev;
	err = misc_register(&gpu->misc);
	if (err)
		goto disable;
	pci_set_drvdata(pdev, gpu);
	return 0;

disable:
	pci_disable_device(pdev);
free:
	kfree(gpu);
	return err;
}

static void hangdrv_remove(struct pci_dev *pdev)
{
	struct fakegpu *gpu = pci_get_drvdata(pdev);
	int users = atomic_read(&gpu->users);

	if (wait_users && users)
		dev_err(&pdev->dev,
			"Attempting to remove device with non-zero usage count %d!\n", users);
	// msleep() cannot be interrupted: the task is in state D and does not die of a signal.
	while (wait_users && atomic_read(&gpu->users))
		msleep(100);
	if (remove_ms > 0)
		msleep(remove_ms);
	while (remove_ms < 0)
		msleep(100);
	misc_deregister(&gpu->misc);
	pci_disable_device(pdev);
	kfree(gpu);
}

static const struct pci_device_id no_ids[] = { { 0 } };

static struct pci_driver hangdrv = {
	.name = KBUILD_MODNAME,
	.id_table = no_ids,
	.probe = hangdrv_probe,
	.remove = hangdrv_remove,
};

static int add_ids(char *list)
{
	unsigned int vendor, device;
	char *word;
	int err = 0;

	while (!err && (word = strsep(&list, ",")) && *word) {
		if (sscanf(word, "%x:%x", &vendor, &device) != 2)
			return -EINVAL;
		err = pci_add_dynid(&hangdrv, vendor, device, PCI_ANY_ID, PCI_ANY_ID, 0, 0, 0);
	}
	return err;
}

static int __init hangdrv_init(void)
{
	char *list = kstrdup(ids, GFP_KERNEL);
	int err;

	if (!list)
		return -ENOMEM;
	err = pci_register_driver(&hangdrv);
	if (!err) {
		err = add_ids(list);
		if (err)
			pci_unregister_driver(&hangdrv);
	}
	kfree(list);
	return err;
}

static void __exit hangdrv_exit(void)
{
	pci_unregister_driver(&hangdrv);
}

module_init(hangdrv_init);
module_exit(hangdrv_exit);
MODULE_DESCRIPTION("lab: a driver whose probe fails and whose remove hangs");
MODULE_LICENSE("GPL");

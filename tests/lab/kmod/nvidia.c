// SPDX-License-Identifier: GPL-2.0
//
// The driver with faults under a name that people know; the module's name is the driver's.
#include "hangdrv.c"

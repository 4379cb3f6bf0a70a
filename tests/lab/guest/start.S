/* Entry of the guest: the multiboot header that QEMU looks for, a stack, and main(). */
#define MAGIC 0x1badb002
#define FLAGS 3 /* page-aligned modules, and the memory's size in the multiboot information */

	.section .multiboot, "a"
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.globl _start
_start:
	cli
	mov $stack_end, %esp
	push %ebx /* the multiboot information */
	call guest_main
1:	hlt
	jmp 1b

	.bss
	.align 16
	.skip 16384
stack_end:
	.section .note.GNU-stack, "", @progbits

#!/bin/bash
# Usage: scripts/test-vfio-bind.sh ADDRESS [--yes]
#
# Takes one device (0000:01:00.0) through a full cycle and shows every step: it is given to
# vfio-pci with all that goes with it, looked at, given back, and the whole machine compared with
# before. Asks before anything is changed, except with --yes.
#
# Exit status: 0 the cycle worked and everything is as it was, 1 it was refused, or something is
# not as it was, 2 it could not be tried or the answer was no.
set -uo pipefail

devices=/sys/bus/pci/devices
address='' yes='' is_bound=''

main() {
	local argument
	for argument; do
		case $argument in
		-y | --yes) yes=yes ;;
		-h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
		-*) die 2 "'$argument' is not an option; see --help" ;;
		*) [[ -z $address ]] || die 2 "one address at a time"; address=$argument ;;
		esac
	done
	[[ -n $address ]] || die 2 "say which device: $0 ADDRESS ('vfioctl list' shows them)"
	[[ $address != ??:??.? ]] || address=0000:$address
	[[ -d $devices/$address ]] || die 2 "there is no PCI function at $address"

	step 'the machine'
	vfioctl check || echo '(going on: the plan says whether that stands in the way of this device)'
	step 'the device'
	vfioctl show "$address" || die $? "vfioctl cannot show $address"
	step 'what would be done'
	vfioctl bind --plan "$address" || die $? "$address cannot be taken"
	[[ -n $yes ]] || ask

	local before now after group
	before=$(read_machine)
	trap 'give_back; exit 2' INT TERM HUP
	step 'taking it'
	is_bound=yes
	if ! vfioctl bind "$address"; then
		is_bound=''
		compare "$before"
		die 1 'bind failed; what it left is shown above, nothing if it undid everything'
	fi
	now=$(read_machine)
	step 'what changed'
	# diff answers 1 where it found something, and that is what is hoped for.
	{ diff <(echo "$before") <(echo "$now") || :; } | grep '^[<>]' ||
		die 2 'nothing: it was on vfio-pci before'
	group=$(readlink "$devices/$address/iommu_group")
	ls -l "/dev/vfio/${group##*/}" || echo "there is no node of group ${group##*/}"

	step 'giving it back'
	give_back || die 1 "release failed; see 'vfioctl recover --plan'"
	step 'the machine, compared with before'
	after=$(read_machine)
	if [[ $before != "$after" ]]; then
		compare "$before"
		die 1 'something is not as it was'
	fi
	echo "PASS: $address went to vfio-pci and back; every driver and override is as it was"
}

# The driver and the override of every PCI function: the device never goes alone.
read_machine() {
	find "$devices"/*/ -maxdepth 1 -name driver -printf '%h %l\n' |
		sed -E 's#^.*/([0-9a-f.:]+)/? .*/#\1 driver #' | sort
	grep -H . "$devices"/*/driver_override 2>/dev/null |
		sed -E 's#^.*/([0-9a-f.:]+)/driver_override:#\1 override #' | grep -v ' (null)$'
	return 0
}

compare() {
	diff <(echo "$1") <(read_machine) | grep '^[<>]' | sed 's/^</was: /; s/^>/is:  /'
	return 0
}

give_back() {
	[[ -n $is_bound ]] || return 0
	is_bound=''
	vfioctl release "$address"
}

ask() {
	[[ -t 0 ]] || die 2 'nobody is there to ask; use --yes'
	local answer
	read -r -p "Take $address now and give it back? [y/N] " answer
	[[ $answer == [yY]* ]] || die 2 'nothing was done'
}

step() {
	printf '\n== %s\n' "$1"
}

die() {
	give_back
	echo "test-vfio-bind: $2" >&2
	exit "$1"
}

main "$@"

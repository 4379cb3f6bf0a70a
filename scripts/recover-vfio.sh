#!/bin/bash
# Usage: scripts/recover-vfio.sh [--yes]
#
# Takes home every device that was left behind, by a crash, a kill or a lost power cord. It shows
# first what was found and what would be done, and asks, except with --yes. Devices that have a
# living owner, and all that vfioctl did not take itself, are not touched.
#
# Exit status: 0 everything is home, 1 something cannot be brought home, 2 could not, or the
# answer was no.
set -uo pipefail

case ${1-} in
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
'' | -y | --yes) ;;
*) echo "recover-vfio: '$1' is not an option; see --help" >&2 && exit 2 ;;
esac

vfioctl recover --plan || exit
plan=$(vfioctl recover --plan --json) || exit
[[ ! $plan =~ \"recovered\":\ *\[[[:space:]]*\] ]] || exit 0
if [[ -z ${1-} ]]; then
	[[ -t 0 ]] || { echo 'recover-vfio: nobody is there to ask; use --yes' >&2 && exit 2; }
	read -r -p 'Do this now? [y/N] ' answer
	[[ $answer == [yY]* ]] || { echo 'recover-vfio: nothing was done' >&2 && exit 2; }
fi
vfioctl recover

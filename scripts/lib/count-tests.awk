# Counts what 'cargo test' printed. The last line is five numbers: suites, passed, failed, ignored,
# and suites that ended without a result, each of which has a line of its own before.

function close_suite() {
	if (open != "") {
		silent++
		print "no result: " open
	}
	open = ""
}

/^ +(Running|Doc-tests) / {
	close_suite()
	open = $0
	sub(/^ +/, "", open)
	suites++
}

/^test result: / {
	for (i = 2; i < NF; i++) {
		if ($(i + 1) == "passed;") passed += $i
		if ($(i + 1) == "failed;") failed += $i
		if ($(i + 1) == "ignored;") ignored += $i
	}
	open = ""
}

END {
	close_suite()
	print suites + 0, passed + 0, failed + 0, ignored + 0, silent + 0
}
